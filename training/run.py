"""The run folder: what training leaves behind, and how to read it back."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from overfly.runtime.documents import read_document, write_document
from overfly.runtime.errors import RunError
from overfly.runtime.evaluation.intervals import Intervals
from overfly.runtime.evaluation.metrics import Metrics
from overfly.runtime.files.atomic import sha256_file, write_atomically
from overfly.runtime.images.reading import ImageSpec
from overfly.runtime.inference.devices import describe_machine
from overfly.training.data.split import SPLIT_SCHEMA, Split, read_split
from overfly.training.models.build import PreprocessedModel, build_model
from overfly.training.models.registry import MODELS
from overfly.training.near_duplicates import NearDuplicate
from overfly.training.recipe import Recipe
from overfly.training.run_layout import CHECKPOINT, RUN_FILE, SPLIT_FILE

RUN_SCHEMA = "overfly.run/4"


@dataclass(frozen=True, slots=True)
class ConfusedPair:
    """How many of the `n_true` test images of a class were taken for a certain other."""

    truth: str
    taken_for: str
    n_images: int
    n_true: int


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The content of ``run.json``.

    Attributes
    ----------
    data
        The data folder, as an absolute path on the machine that trained.
    weights
        What training started from: ``imagenet``, ``none``, or ``sha256:`` and the hash of a file.
    device
        Where it was computed: ``cpu``, ``cuda`` or ``xpu``.
    precision
        In what: ``fp32``, or ``bf16`` (mixed).
    metrics
        Of the kept weights on the test part.
    intervals
        Their 95% intervals, by the bootstrap.
    most_confused
        The three pairs of classes with the most errors, most first.
    near_duplicates
        Scenes of different parts that look almost alike; None where there were too many to compare.
    machine
        What it was trained on, in a few words.
    seconds
        Wall clock of all epochs, evaluation left out.
    """

    model: str
    classes: tuple[str, ...]
    image: ImageSpec
    data: str
    recipe: Recipe
    weights: str
    seed: int
    device: str
    precision: str
    metrics: Metrics
    intervals: Intervals
    most_confused: tuple[ConfusedPair, ...]
    near_duplicates: tuple[NearDuplicate, ...] | None
    machine: str
    seconds: float
    versions: dict[str, str]
    checkpoint_sha256: str
    split_sha256: str


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run, opened."""

    path: Path
    record: RunRecord

    @classmethod
    def open(cls, path: Path) -> "Run":
        """Read the run in the folder `path`.

        Raises
        ------
        RunError
            When there is no such folder, or its ``run.json`` is missing or not valid.
        """
        if not path.is_dir():
            found = "a file" if path.exists() else "nothing"
            raise RunError(f"{path} is not a run: found {found}, expected the folder written by overfly train")
        return cls(path, read_document(path / RUN_FILE, RunRecord, schema=RUN_SCHEMA, error=RunError))

    def split(self) -> Split:
        """Return the run's split.

        Raises
        ------
        RunError
            When ``split.json`` is missing or altered.
        """
        return read_split(self._checked(SPLIT_FILE, self.record.split_sha256))

    def load_model(self) -> PreprocessedModel:
        """Return the kept model with its preprocessing, on the CPU, in eval mode.

        Raises
        ------
        RunError
            When the checkpoint is missing, altered or not for this model.
        """
        path = self._checked(CHECKPOINT, self.record.checkpoint_sha256)
        if self.record.model not in MODELS:
            raise RunError(f"{self.path / RUN_FILE} names the unknown model {self.record.model!r}: train again")
        model = build_model(self.record.model, len(self.record.classes))
        try:
            model.load_state_dict(load_file(path))
        except (SafetensorError, RuntimeError) as error:
            raise RunError(f"{path} is not a checkpoint of {self.record.model}: train again") from error
        return PreprocessedModel(model, self.record.image).eval()

    def _checked(self, name: str, sha256: str) -> Path:
        """Return the path of a file of the run whose hash is the recorded one."""
        path = self.path / name
        if not path.is_file():
            raise RunError(f"{path} is missing: copy the whole run again, or train again")
        if sha256_file(path) != sha256:
            raise RunError(
                f"{path} was altered: its SHA-256 is not the {sha256[:12]}... of {RUN_FILE}; "
                "copy the run again, or train again"
            )
        return path


def save_checkpoint(folder: Path, deployed: PreprocessedModel) -> str:
    """Write the model's weights (without the preprocessing constants); return the file's SHA-256."""
    state = {key: value.contiguous().cpu() for key, value in deployed.model.state_dict().items()}
    write_atomically(folder / CHECKPOINT, save(state))
    return sha256_file(folder / CHECKPOINT)


def save_split(folder: Path, split: Split) -> str:
    """Write the split; return the file's SHA-256."""
    write_document(folder / SPLIT_FILE, split, schema=SPLIT_SCHEMA)
    return sha256_file(folder / SPLIT_FILE)


def choose_device(name: str) -> torch.device:
    """Return the device to train on; ``auto`` takes CUDA, then XPU, then the CPU.

    Raises
    ------
    RunError
        When the device is not there.
    """
    found = [d for d, there in (("cuda", torch.cuda.is_available()), ("xpu", torch.xpu.is_available())) if there]
    found.append("cpu")
    if name == "auto":
        return torch.device(found[0])
    if name not in found:
        raise RunError(f"PyTorch has no device {name!r} here: found {', '.join(found)}; choose one of them, or auto")
    return torch.device(name)


def describe_place(device: torch.device) -> str:
    """Return the accelerator's name, if it is one, and the machine's."""
    accelerators = {"cuda": torch.cuda, "xpu": torch.xpu}
    name = [accelerators[device.type].get_device_name(device)] if device.type in accelerators else []
    return ", ".join([*name, describe_machine()])
