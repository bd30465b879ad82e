"""The state of an unfinished training, in one file: all that ``--resume`` needs."""

import dataclasses
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from overfly.runtime.errors import RunError
from overfly.runtime.files.atomic import write_atomically
from overfly.training.loop.interruption import Interruption
from overfly.training.loop.trainer import Epoch, EpochState, Trainer

LAST = "last"
_STATE = "state.safetensors"

# An epoch over many images takes hours on a CPU; writing a state takes a second.
SAVE_EVERY_S = 300.0

_COUNTS = ("n_done", "loss", "seconds")


class Saver:
    """Saves a training's state: after each epoch, every five minutes within one, and when it is asked to stop.

    Of several processes the first one writes, and all stop when one is asked to.

    Parameters
    ----------
    folder, trainer, history, identity
        As for `save_state`.
    interruption
        Says whether to stop.
    """

    def __init__(
        self,
        folder: Path,
        trainer: Trainer,
        history: list[Epoch],
        identity: dict[str, object],
        interruption: Interruption,
    ) -> None:
        self._team = trainer.team
        self._interruption = interruption
        self._saved_at = time.monotonic()
        self._write = partial(save_state, folder, trainer, history, identity)

    def save(self) -> None:
        """Save now."""
        if self._team.leads:
            self._write()
        self._saved_at = time.monotonic()

    def after_step(self) -> None:
        """Save if it is time to, or if the training is to stop.

        Raises
        ------
        KeyboardInterrupt
            When it is to stop.
        """
        stop = self._team.any(wish=self._interruption.asked)
        if stop or time.monotonic() - self._saved_at >= SAVE_EVERY_S:
            self.save()
        if stop:
            raise KeyboardInterrupt

    def after_epoch(self) -> None:
        """Raise KeyboardInterrupt if the training is to stop; it is saved already."""
        if self._team.any(wish=self._interruption.asked):
            raise KeyboardInterrupt


def save_state(folder: Path, trainer: Trainer, history: list[Epoch], identity: dict[str, object]) -> None:
    """Write the trainer's state.

    Parameters
    ----------
    folder
        The work folder of the run; the state goes to ``last/`` in it.
    trainer
        Between any two steps.
    history
        The epochs so far.
    identity
        What must be the same for the training to go on: compared by `restore_state`.

    Raises
    ------
    OSError
        When it can't be written; the state saved before is whole.
    """
    tensors = {f"live.{k}": v for k, v in trainer.live.state_dict().items()}
    if trainer.recipe.ema_decay:
        tensors |= {f"averaged.{k}": v for k, v in trainer.averaged.state_dict().items()}
    tensors |= {f"best.{k}": v for k, v in trainer.best.items()}
    for index, slot in trainer.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": v for k, v in slot.items()}
    tensors |= {f"chance.{name}": source.get_rng_state() for name, source in _sources(trainer.device).items()}
    tensors["generator"] = trainer.generator.get_state()
    facts: dict[str, object] = {"identity": identity, "epoch": trainer.epoch, "step": trainer.step}
    facts["history"] = [dataclasses.asdict(epoch) for epoch in history]
    if trainer.current is not None:
        tensors["order"] = trainer.current.order
        facts["pass"] = {name: getattr(trainer.current, name) for name in _COUNTS}
    tensors["facts"] = torch.frombuffer(bytearray(json.dumps(facts).encode()), dtype=torch.uint8)
    (folder / LAST).mkdir(parents=True, exist_ok=True)
    write_atomically(folder / LAST / _STATE, save({k: v.contiguous().cpu() for k, v in tensors.items()}))


def read_checkpoint(folder: Path) -> bytes | None:
    """Return what `save_state` wrote to the work folder, None if it never did.

    Raises
    ------
    RunError
        When it can't be read.
    """
    try:
        return (folder / LAST / _STATE).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(folder, error) from error


def restore_state(folder: Path, content: bytes, trainer: Trainer, identity: dict[str, object]) -> list[Epoch]:
    """Bring a new trainer to a state that was read; return the epochs so far.

    Raises
    ------
    RunError
        When the state is damaged, or of a training with other choices.
    """
    try:
        tensors = load(content)
        facts = json.loads(tensors["facts"].numpy().tobytes())
    except (SafetensorError, KeyError, ValueError) as error:
        raise _unreadable(folder, error) from error
    _refuse_changes(folder / LAST / _STATE, facts["identity"], identity)
    trainer.live.load_state_dict(_below("live.", tensors))
    if trainer.recipe.ema_decay:
        trainer.averaged.load_state_dict(_below("averaged.", tensors))
    trainer.best = _below("best.", tensors)
    _restore_optimizer(trainer.optimizer, _below("optimizer.", tensors))
    trainer.generator.set_state(tensors["generator"])
    for name, source in _sources(trainer.device).items():
        if f"chance.{name}" in tensors:  # else another kind of device saved it
            source.set_rng_state(tensors[f"chance.{name}"])
    trainer.epoch, trainer.step = facts["epoch"], facts["step"]
    if "pass" in facts:
        trainer.current = EpochState(tensors["order"], **facts["pass"])
    return [Epoch(**row) for row in facts["history"]]


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """Give the optimizer its state back, in the parameters' memory layout as before, so that sums round as before."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    slots: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        like = parameters[int(index)]
        laid_out = torch.empty_like(like).copy_(value) if value.shape == like.shape else value
        slots.setdefault(int(index), {})[name] = laid_out
    optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})


def _sources(device: torch.device) -> dict[str, Any]:
    """Return PyTorch's own sources of chance, which dropout draws from: the CPU's, and another device's."""
    sources: dict[str, Any] = {"cpu": torch}
    if device.type != "cpu":
        sources[device.type] = torch.get_device_module(device)
    return sources


def _unreadable(folder: Path, error: Exception) -> RunError:
    """Return the error to raise for a state that can't be read."""
    return RunError(f"{folder / LAST / _STATE} can't be read ({error}): start again with --overwrite")


def _refuse_changes(path: Path, saved: dict[str, object], now: dict[str, object]) -> None:
    """Raise for the first choice that differs; both went through JSON."""
    for name, value in json.loads(json.dumps(now)).items():
        if saved.get(name) != value:
            raise RunError(
                f"{path} is of a training with {name} = {saved.get(name)}, not {value}: "
                "repeat the command as it was, or start again with --overwrite"
            )


def _below(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors whose names start with `prefix`, without it."""
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
