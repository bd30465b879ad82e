"""The state of an unfinished training, in one file: all that ``--resume`` needs."""

import dataclasses
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from overfly.runtime.errors import RunError
from overfly.runtime.files.atomic import write_atomically
from overfly.training.distributed.team import Team
from overfly.training.identity import TrainingIdentity
from overfly.training.loop.history import Epoch
from overfly.training.loop.interruption import Interruption
from overfly.training.loop.trainer import EpochState, Trainer
from overfly.training.recipe import FIELDS, Recipe

LAST = "last"
_STATE = "state.safetensors"

# An epoch over many images takes hours on a CPU, and saving takes a second.
SAVE_EVERY_S = 300.0

_LOGGER = logging.getLogger(__name__)


class Saver:
    """Saves the state of a training: after each epoch, every five minutes within an epoch, and before it stops.

    If several processes train together, the first one writes, and all stop when one of them is asked to.

    Parameters
    ----------
    save_state
        Writes the state; the first process calls it.
    team
        The processes that train together.
    interruption
        Whether the training should stop.
    """

    def __init__(self, save_state: Callable[[], None], team: Team, interruption: Interruption) -> None:
        self._save_state = save_state
        self._team = team
        self._interruption = interruption
        self._saved_at = time.monotonic()

    def save(self) -> None:
        """Save now."""
        if self._team.leads:
            self._save_state()
        self._saved_at = time.monotonic()

    def after_step(self) -> None:
        """Save if it is time to, or if the training should stop.

        Raises
        ------
        KeyboardInterrupt
            If the training should stop.
        """
        stop = self._team.any(flag=self._interruption.requested)
        if stop or time.monotonic() - self._saved_at >= SAVE_EVERY_S:
            self.save()
        if stop:
            raise KeyboardInterrupt

    def after_epoch(self) -> None:
        """Raise KeyboardInterrupt if the training should stop; the state was saved before."""
        if self._team.any(flag=self._interruption.requested):
            raise KeyboardInterrupt


def save_state(folder: Path, trainer: Trainer, history: list[Epoch], identity: TrainingIdentity) -> None:
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
        Compared by `restore_state`: only the same training can be continued.

    Raises
    ------
    OSError
        If it can't be written; the state that was saved before is intact.
    """
    tensors = {f"model.{k}": v for k, v in trainer.model.state_dict().items()}
    if trainer.recipe.ema_decay:
        tensors |= {f"ema_model.{k}": v for k, v in trainer.ema_model.state_dict().items()}
    tensors |= {f"best.{k}": v for k, v in trainer.best.items()}
    for index, slot in trainer.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": v for k, v in slot.items()}
    tensors["generator"] = trainer.generator.get_state()
    facts: dict[str, object] = {
        "identity": dataclasses.asdict(identity),
        "epoch": trainer.epoch,
        "step": trainer.step,
        "history": [dataclasses.asdict(epoch) for epoch in history],
    }
    if trainer.epoch_state is not None:
        facts["epoch_state"] = {
            field.name: getattr(trainer.epoch_state, field.name) for field in dataclasses.fields(EpochState)[1:]
        }
        tensors["order"] = trainer.epoch_state.order
    tensors["facts"] = torch.frombuffer(bytearray(json.dumps(facts).encode()), dtype=torch.uint8)
    (folder / LAST).mkdir(parents=True, exist_ok=True)
    write_atomically(folder / LAST / _STATE, save({k: v.contiguous().cpu() for k, v in tensors.items()}))
    _LOGGER.debug("saved the state after step %d to %s", trainer.step, folder / LAST)


def read_checkpoint(folder: Path) -> bytes | None:
    """Return what `save_state` wrote to the work folder, None if it wrote nothing.

    Raises
    ------
    RunError
        If it can't be read.
    """
    try:
        return (folder / LAST / _STATE).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(folder, error) from error


def restore_state(folder: Path, content: bytes, trainer: Trainer, identity: TrainingIdentity) -> list[Epoch]:
    """Load a state into a new trainer; return the epochs so far.

    Parameters
    ----------
    folder
        The work folder, for messages.
    content
        From `read_checkpoint`.
    trainer
        Changed in place.
    identity
        Of the training that should be continued.

    Raises
    ------
    RunError
        If the state is damaged, or is of another training or another version of overfly.
    """
    try:
        tensors = load(content)
        facts = json.loads(tensors["facts"].numpy().tobytes())
    except (SafetensorError, KeyError, ValueError) as error:
        raise _unreadable(folder, error) from error
    try:
        recipe = facts["identity"]["recipe"]
        # The values by name first: no value that is missing may become the default.
        recipe = Recipe(**{name: recipe.pop(name) for name in FIELDS}, **recipe)
        saved = TrainingIdentity(**{**facts["identity"], "recipe": recipe})
    except (KeyError, ValueError, TypeError) as error:
        raise RunError(
            f"{folder / LAST / _STATE} is of another version of overfly ({error}): "
            "resume the training with that version, or start again with --overwrite"
        ) from error
    if difference := saved.first_difference(identity):
        name, found, expected = difference
        # Otherwise the command that started it may not be enough: an earlier version had other defaults.
        setting = f" (and with --set {name}={found}, if an earlier version started it)" if name in FIELDS else ""
        raise RunError(
            f"{folder / LAST / _STATE} is of a training with {name} = {found}, not {expected}: "
            f"repeat the command that started it with --resume{setting}, or start again with --overwrite"
        )
    trainer.model.load_state_dict(_below("model.", tensors))
    if trainer.recipe.ema_decay:
        trainer.ema_model.load_state_dict(_below("ema_model.", tensors))
    trainer.best = _below("best.", tensors)
    _restore_optimizer(trainer.optimizer, _below("optimizer.", tensors))
    trainer.generator.set_state(tensors["generator"])
    trainer.epoch, trainer.step = facts["epoch"], facts["step"]
    if "epoch_state" in facts:
        trainer.epoch_state = EpochState(tensors["order"], **facts["epoch_state"])
    _LOGGER.info("resuming from %s after step %d of %d", folder / LAST / _STATE, trainer.step, trainer.n_steps)
    return [Epoch(**row) for row in facts["history"]]


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """Load the optimizer's state in the memory layout of the parameters: in another one, sums would round otherwise."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    slots: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        like = parameters[int(index)]
        laid_out = torch.empty_like(like).copy_(value) if value.shape == like.shape else value
        slots.setdefault(int(index), {})[name] = laid_out
    optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})


def _unreadable(folder: Path, error: Exception) -> RunError:
    """Return the error to raise for a state that can't be read."""
    return RunError(f"{folder / LAST / _STATE} can't be read ({error}): start again with --overwrite")


def _below(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors whose names start with `prefix`, without it."""
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
