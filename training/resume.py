"""The state of an unfinished training, in one file: all that ``--resume`` needs."""

import dataclasses
import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from overfly.runtime.errors import RunError
from overfly.runtime.files import write_atomically
from overfly.training.loop import Epoch, Trainer

LAST = "last"
_STATE = "state.safetensors"


def save_state(folder: Path, trainer: Trainer, history: list[Epoch], identity: dict[str, object]) -> None:
    """Write the trainer's state after an epoch.

    Parameters
    ----------
    folder
        The work folder of the run; the state goes to ``last/`` in it.
    trainer
        At the end of an epoch.
    history
        The epochs so far.
    identity
        What must be the same for the training to go on: compared by `restore_state`.
    """
    tensors = {f"live.{k}": v for k, v in trainer.live.state_dict().items()}
    if trainer.recipe.ema_decay:
        tensors |= {f"averaged.{k}": v for k, v in trainer.averaged.state_dict().items()}
    for index, slot in trainer.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": v for k, v in slot.items()}
    tensors |= {"generator": trainer.generator.get_state(), "global": torch.get_rng_state()}
    facts = {"identity": identity, "epoch": trainer.epoch, "step": trainer.step, "history": _rows(history)}
    (folder / LAST).mkdir(parents=True, exist_ok=True)
    content = save({k: v.contiguous().cpu() for k, v in tensors.items()}, {"overfly": json.dumps(facts)})
    write_atomically(folder / LAST / _STATE, content)


def restore_state(folder: Path, trainer: Trainer, identity: dict[str, object]) -> list[Epoch]:
    """Bring a new trainer to the saved state; return the epochs so far.

    Raises
    ------
    RunError
        When there is no state, it can't be read, or it is of a training with other choices.
    """
    path = folder / LAST / _STATE
    try:
        with safe_open(path, framework="pt") as stream:
            facts = json.loads((stream.metadata() or {})["overfly"])
            # Copies: the originals are the file itself, mapped, which Windows would not let us replace.
            tensors = {key: stream.get_tensor(key).clone() for key in stream.keys()}  # noqa: SIM118 - it is no mapping
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise RunError(f"{path} can't be read ({error}): start again with --overwrite") from error
    _refuse_changes(path, facts["identity"], identity)
    trainer.live.load_state_dict(_below("live.", tensors))
    if trainer.recipe.ema_decay:
        trainer.averaged.load_state_dict(_below("averaged.", tensors))
    slots: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in _below("optimizer.", tensors).items():
        index, _, name = key.partition(".")
        slots.setdefault(int(index), {})[name] = value
    groups = trainer.optimizer.state_dict()["param_groups"]
    trainer.optimizer.load_state_dict({"state": slots, "param_groups": groups})
    trainer.generator.set_state(tensors["generator"])
    torch.set_rng_state(tensors["global"])
    trainer.epoch, trainer.step = facts["epoch"], facts["step"]
    return [Epoch(**row) for row in facts["history"]]


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


def _rows(history: list[Epoch]) -> list[dict[str, object]]:
    """Return the epochs as plain dicts for JSON."""
    return [dataclasses.asdict(epoch) for epoch in history]
