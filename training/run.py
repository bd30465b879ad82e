"""The run folder: what it holds, and how to read it."""

from dataclasses import dataclass, field
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from overfly.runtime.bundle.manifest import SceneSpec, TemperatureScaling
from overfly.runtime.documents import ADDED_LATER, read_document, write_document
from overfly.runtime.errors import RunError
from overfly.runtime.evaluation.intervals import Intervals
from overfly.runtime.evaluation.metrics import METRICS, Metrics
from overfly.runtime.files.atomic import write_atomically
from overfly.runtime.files.hashing import sha256_file
from overfly.runtime.images.reading import ImageSpec
from overfly.training.data.split import SPLIT_SCHEMA, Split, read_split
from overfly.training.identity import TrainingIdentity, split_sha256
from overfly.training.models.build import PreprocessedModel, build_model
from overfly.training.models.registry import MODELS
from overfly.training.near_duplicates import NearDuplicate
from overfly.training.recipe import Recipe
from overfly.training.run_layout import CHECKPOINT, RUN_FILE, SPLIT_FILE

RUN_SCHEMA = "overfly.run/5"


@dataclass(frozen=True, slots=True)
class ConfusedPair:
    """How many of the `n_true` test images of the class `truth` were classified as `taken_for`."""

    truth: str
    # Its name is a key of run.json, and runs that exist must stay valid.
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
        The initial weights: ``imagenet``, ``none``, or ``sha256:`` and the hash of a file.
    device
        Where the training ran: ``cpu``, ``cuda`` or ``xpu``.
    precision
        Number format of the training: ``fp32``, or ``bf16`` (mixed precision).
    metrics
        Of the kept weights on the test part.
    intervals
        Their 95% bootstrap intervals.
    most_confused
        The three pairs of classes with the most errors, in descending order.
    near_duplicates
        Near-duplicate images in different parts of the split; None if there were too many images to compare.
    machine
        Accelerator, processor, cores, memory and system that trained.
    seconds
        Wall clock of all epochs, without evaluation.
    scene
        What the images show of the ground, if ``overfly chips`` cut them; None if that is unknown.
    temperature_scaling
        How the probabilities were calibrated; None if there is no validation part.
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
    scene: SceneSpec | None = field(default=None, metadata=ADDED_LATER)
    temperature_scaling: TemperatureScaling | None = field(default=None, metadata=ADDED_LATER)

    def __post_init__(self) -> None:
        """Refuse intervals of other metrics than those that runs have."""
        if set(self.intervals) != set(METRICS):
            raise ValueError(f"the intervals are of {', '.join(self.intervals)}, expected {', '.join(METRICS)}")

    @property
    def identity(self) -> TrainingIdentity:
        """What makes another training the same as this one."""
        return TrainingIdentity(
            recipe=self.recipe,
            seed=self.seed,
            weights=self.weights,
            split_sha256=self.split_sha256,
            value_range=self.image.value_range,
        )


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
            If there is no such folder, or its ``run.json`` is missing or not valid.
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
            If ``split.json`` is missing or altered.
        """
        return read_split(self._checked(SPLIT_FILE, self.record.split_sha256))

    def load_model(self) -> PreprocessedModel:
        """Return the kept model with its preprocessing, on the CPU, in eval mode.

        Raises
        ------
        RunError
            If the checkpoint is missing, altered or not for this model.
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


def save_checkpoint(folder: Path, model: PreprocessedModel) -> str:
    """Write the weights of a model, without its preprocessing constants; return the file's SHA-256."""
    state = {key: value.contiguous().cpu() for key, value in model.model.state_dict().items()}
    write_atomically(folder / CHECKPOINT, save(state))
    return sha256_file(folder / CHECKPOINT)


def save_split(folder: Path, split: Split) -> str:
    """Write the split; return its SHA-256."""
    write_document(folder / SPLIT_FILE, split, schema=SPLIT_SCHEMA)
    return split_sha256(split)
