"""Training: from a labeled folder to a run."""

import dataclasses
import logging
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from overfly.runtime.bundle.labels import check_labels
from overfly.runtime.bundle.manifest import SceneSpec, TemperatureScaling
from overfly.runtime.documents import write_document
from overfly.runtime.errors import RunError
from overfly.runtime.evaluation.intervals import bootstrap_intervals
from overfly.runtime.evaluation.metrics import confusion_matrix, most_confused, summarize
from overfly.runtime.files.names import utf8_text
from overfly.runtime.files.output_guards import check_outside, explain_os_errors
from overfly.runtime.files.replacing import replace_folder
from overfly.runtime.files.unfinished import check_still_free, unfinished_folder
from overfly.runtime.images.depth import ValueRange, check_range
from overfly.runtime.images.reading import ImageBatch, ImageReader
from overfly.runtime.machine import keep_awake
from overfly.runtime.reporter import SILENT, Reporter
from overfly.runtime.versions import installed_versions
from overfly.training.calibration import calibrate
from overfly.training.data.chips.record import chips_notes, find_chips_record, range_of_chips
from overfly.training.data.dataset import decode, scan
from overfly.training.data.notes import data_notes
from overfly.training.data.parts import PARTS
from overfly.training.data.split import Split, choose_split, describe_changes, describe_moves, read_split
from overfly.training.distributed.team import ALONE, Team
from overfly.training.identity import TrainingIdentity, split_sha256, weights_identity
from overfly.training.loop.checkpoint import LAST, Saver, read_checkpoint, restore_state, save_state
from overfly.training.loop.history import Epoch, best_epoch, write_history
from overfly.training.loop.interruption import defer_interrupts
from overfly.training.loop.trainer import Trainer, predict_logits
from overfly.training.memory import keep_freed_memory
from overfly.training.messages import epoch_row, near_duplicate_notes, position, report_progress, share_notes
from overfly.training.models.build import PreprocessedModel, build_model
from overfly.training.models.weights import load_pretrained
from overfly.training.near_duplicates import NearDuplicate, near_duplicates
from overfly.training.plots import plot_confusion, plot_curves
from overfly.training.recipe import Recipe, override, without_pretraining
from overfly.training.run import RUN_SCHEMA, ConfusedPair, Run, RunRecord, save_checkpoint, save_split
from overfly.training.run_layout import RUN_FILE, SPLIT_FILE
from overfly.training.torch_device import choose_device, describe_hardware
from overfly.training.work_folder import check_output, work_folder

_RESUME = "rerun the same command with --resume"
_HOW_TO_CONTINUE = f"the last saved state is intact: fix the problem, then {_RESUME}"

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainJob:
    """What to train, on what, and where to put it.

    Attributes
    ----------
    data
        The data folder.
    out
        The run folder to make. Until it is complete, the work is in ``<out>.unfinished`` next to it.
    recipe
        How to train.
    weights
        The initial weights: ``imagenet``, ``none`` or the path of a weights file.
    seed
        Random seed of the split, the classifier's initial weights, the shuffling, the augmentation and the dropout.
    split_file
        A ``split.json`` to use instead of the data folder's own division or a new split.
    device
        ``auto``, ``cpu``, ``cuda`` or ``xpu``.
    value_range
        The values that become 0 and 255 in images of more than 8 bits; None keeps their highest 8 bits, and takes the
        range of the rasters if ``overfly chips`` cut the images. The run and its bundles keep it.

    Examples
    --------
    >>> from pathlib import Path
    >>> from overfly.training import Recipe, TrainJob, train
    >>> recipe = Recipe(image_size=32, epochs=1)
    >>> run = train(TrainJob(data=Path("scenes"), out=Path("new-run"), recipe=recipe, weights="none"))
    >>> run.record.metrics.n_images
    16
    """

    data: Path
    out: Path
    recipe: Recipe
    weights: str = "imagenet"
    seed: int = 0
    split_file: Path | None = None
    device: str = "auto"
    value_range: ValueRange | None = None

    def __post_init__(self) -> None:
        """Raise ValueError if the range of values is not valid."""
        if self.value_range is not None:
            check_range(*self.value_range)

    @property
    def work(self) -> Path:
        """The folder of the run until it is complete."""
        return unfinished_folder(self.out)

    def recipe_for(self, split: Split) -> Recipe:
        """Return the recipe that is really used: with the split's fractions, and with no random weights frozen."""
        recipe = without_pretraining(self.recipe) if self.weights == "none" else self.recipe
        return override(recipe, test_fraction=split.test_fraction, val_fraction=split.val_fraction)

    def identity(self, split: Split) -> TrainingIdentity:
        """Return what another training must have in common with this one to be the same; reads the weights file."""
        return TrainingIdentity(
            recipe=self.recipe_for(split),
            seed=self.seed,
            weights=weights_identity(self.weights),
            split_sha256=split_sha256(split),
            value_range=self.value_range,
        )


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the split: uint8 images ``[N, S, S, 3]`` and int64 labels ``[N]``."""

    images: ImageBatch
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A training that is ready to start.

    Attributes
    ----------
    parts
        The decoded parts of the split, by name.
    near_duplicates
        Near-duplicates in different parts; None if they were not searched for.
    trainer
        With the initial weights.
    scene
        What the images show of the ground; None if that is unknown.
    """

    job: TrainJob
    identity: TrainingIdentity
    split: Split
    parts: dict[str, Part]
    near_duplicates: list[NearDuplicate] | None
    trainer: Trainer
    scene: SceneSpec | None = None


def train(
    job: TrainJob, *, resume: bool = False, overwrite: bool = False, reporter: Reporter = SILENT, team: Team = ALONE
) -> Run:
    """Train a model and write its run.

    Parameters
    ----------
    job
        What to do.
    resume
        Continue the unfinished run of the same job, if there is one.
    overwrite
        Replace a finished or an unfinished run; a finished one stays until the new one is complete.
    reporter
        Receives notes, progress and one row per epoch.
    team
        The processes that train together. Each of them calls this function with the same job; only the first one
        writes and reports.

    Returns
    -------
    Run
        The finished run; its folder is on the first process's machine.

    Raises
    ------
    OverflyError
        For bad data, weights, device or output; see `overfly.runtime.errors`.
    KeyboardInterrupt
        After SIGINT or SIGTERM; the state is saved.
    """
    if team.leads:
        check_output(job, resume=resume, overwrite=overwrite)
    else:
        reporter = SILENT
    with keep_awake(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(job.seed)
        prepared = prepare(job, resume=resume, reporter=reporter, team=team)
        if not (resume and job.work.exists()):
            for note in (*share_notes(job.recipe), *near_duplicate_notes(prepared.near_duplicates)):
                reporter.note(note)
        # Only now, after everything that could have failed.
        folder = work_folder(job, resume=resume, overwrite=overwrite) if team.leads else nullcontext()
        with folder, keep_freed_memory(), explain_os_errors(job.work, _HOW_TO_CONTINUE):
            history = fit(prepared, resume=resume, reporter=reporter)
            record = team.from_first(lambda: finish(prepared, history, reporter=reporter))
    if team.leads:
        check_still_free(job.out, "run", overwrite=overwrite)
        remedy = f"the run is complete in {job.work}: close the program that has it open, then {_RESUME}"
        with explain_os_errors(job.out, remedy):
            replace_folder(job.work, job.out.absolute())
    return Run(job.out, record)


def prepare(job: TrainJob, *, resume: bool = False, reporter: Reporter = SILENT, team: Team = ALONE) -> Prepared:
    """Read the data, the weights and the split, and check everything that could make the training fail.

    If a training is resumed, what has changed in the data is checked first, because it may cause other errors.

    The initial weights of the classifier come from PyTorch's global random generator.
    """
    team.check_divides(job.recipe.batch_shares)
    device = team.own_device(choose_device(job.device))
    check_outside(job.out, job.data)
    chips = find_chips_record(job.data)
    if chips is not None:
        job = dataclasses.replace(job, value_range=range_of_chips(job.data, chips, job.value_range))
        for note in chips_notes(job.data, chips, is_divided=bool(job.split_file)):
            reporter.note(note)
    dataset = scan(job.data, progress=partial(reporter.progress, "hashing"))
    if resume and team.leads and (job.work / LAST).exists() and (job.work / SPLIT_FILE).is_file():
        _check_unchanged(job, describe_changes(read_split(job.work / SPLIT_FILE).files, dataset.images))
    check_labels(dataset.classes)
    for note in data_notes(dataset):
        reporter.note(note)
    split = choose_split(
        dataset,
        job.split_file,
        test_fraction=job.recipe.test_fraction,
        val_fraction=job.recipe.val_fraction,
        seed=job.seed,
        reporter=reporter,
    )
    sizes = ", ".join(f"{len(split.images(part))} {part}" for part in PARTS)
    _LOGGER.info("%d classes, split with seed %s: %s", len(split.classes), split.seed, sizes)
    recipe = job.recipe_for(split)
    if recipe.keep == "best" and not split.images("val"):
        raise RunError(
            f"keep=best needs a validation part, and this split has none: {split.validation_advice()}; or use keep=last"
        )
    network = build_model(recipe.model, len(dataset.classes))
    load_pretrained(network, recipe.model, job.weights)
    model = PreprocessedModel(network, recipe.image)
    _check_image_size(model, recipe)
    identity = job.identity(split)
    reader = identity.image.reader()
    # All parts now: an image that can't be read must not be found after hours of training.
    parts = {part: _load(job, split, part, reader, reporter) for part in PARTS}
    team.check_same(identity)
    similar = near_duplicates(split, {name: part.images for name, part in parts.items()}) if team.leads else None
    n_images = len(parts["train"].labels)
    trainer = Trainer(model, recipe, n_images=n_images, seed=job.seed, device=device, team=team)
    _LOGGER.info("training %s on %s in %s, in %d steps", recipe.model, device, trainer.precision, trainer.n_steps)
    return Prepared(
        job=job,
        identity=identity,
        split=split,
        parts=parts,
        near_duplicates=similar,
        trainer=trainer,
        scene=None if chips is None else chips.scene,
    )


def fit(prepared: Prepared, *, resume: bool = False, reporter: Reporter = SILENT) -> list[Epoch]:
    """Train all epochs and save the state after each; return the epochs.

    Raises
    ------
    RunError
        If the saved state is damaged or of another training, the loss diverges, or the memory is not enough.
    KeyboardInterrupt
        After SIGINT or SIGTERM; the state is saved.
    """
    work, trainer, parts = prepared.job.work, prepared.trainer, prepared.parts
    history: list[Epoch] = []
    state = trainer.team.from_first(lambda: _saved_state(prepared) if resume else None)
    if state is not None:
        history = restore_state(work, state, trainer, prepared.identity)
        reporter.note(f"continuing after {position(trainer)}")
    elif trainer.team.leads:
        save_split(work, prepared.split)
    with defer_interrupts() as interruption:
        save = partial(save_state, work, trainer, history, prepared.identity)
        saver = Saver(save, trainer.team, interruption)

        def after_step(done: int, total: int) -> None:
            report_progress(reporter, trainer, done, total)
            saver.after_step()

        images, labels = parts["train"].images, parts["train"].labels
        while trainer.epoch < trainer.recipe.epochs:
            loss, seconds = trainer.run_epoch(images, labels, after_step)
            accuracy = _accuracy(trainer, parts["val"]) if trainer.team.leads else None
            rate = trainer.learning_rate
            history.append(Epoch(trainer.epoch, loss, accuracy, rate, len(labels) / seconds, seconds))
            if trainer.recipe.keep == "best" and best_epoch(history) == trainer.epoch:
                trainer.save_best()
            saver.save()
            if trainer.team.leads:
                write_history(work, history)
            reporter.row(epoch_row(history[-1], trainer))
            saver.after_epoch()
    return history


def finish(prepared: Prepared, history: list[Epoch], *, reporter: Reporter = SILENT) -> RunRecord:
    """Evaluate the kept weights on the test part and write the files of the run."""
    job, identity, split, trainer = prepared.job, prepared.identity, prepared.split, prepared.trainer
    test = prepared.parts["test"]
    if trainer.recipe.keep == "best":
        trainer.restore_best()
        reporter.note(f"keeping the weights of epoch {best_epoch(history)}, the best on the validation part")
    scaling = _calibrate(prepared, reporter)
    logits = predict_logits(trainer.ema_model, test.images, progress=partial(reporter.progress, "testing"))
    confusion = confusion_matrix(test.labels, logits.argmax(axis=1), n_classes=len(split.classes))
    # Again, because a run that was stopped right after its last state was saved has none.
    write_history(job.work, history)
    plot_curves(job.work / "curves.png", history)
    plot_confusion(job.work / "confusion.png", confusion, split.classes)
    n_true = dict(zip(split.classes, confusion.sum(axis=1).tolist(), strict=True))
    similar = prepared.near_duplicates
    record = RunRecord(
        model=identity.recipe.model,
        classes=split.classes,
        image=identity.image,
        data=utf8_text(job.data.absolute()),
        recipe=identity.recipe,
        weights=identity.weights,
        seed=identity.seed,
        device=trainer.device.type,
        precision=trainer.precision,
        metrics=summarize(confusion),
        intervals=bootstrap_intervals(confusion),
        most_confused=tuple(ConfusedPair(*pair, n_true[pair[0]]) for pair in most_confused(confusion, split.classes)),
        near_duplicates=None if similar is None else tuple(similar),
        machine=describe_hardware(trainer.device),
        seconds=sum(epoch.seconds for epoch in history),
        versions=installed_versions(),
        checkpoint_sha256=save_checkpoint(job.work, trainer.ema_model),
        split_sha256=save_split(job.work, split),
        scene=prepared.scene,
        temperature_scaling=scaling,
    )
    write_document(job.work / RUN_FILE, record, schema=RUN_SCHEMA)
    return record


def _check_image_size(model: PreprocessedModel, recipe: Recipe) -> None:
    """Raise RunError if the recipe's images are too small for the layers of the model, or too large for the memory."""
    size = recipe.image_size
    try:
        predict_logits(model, np.zeros((1, size, size, 3), np.uint8))
    except (RuntimeError, MemoryError) as error:
        raise RunError(f"{recipe.model} can't take {size} x {size} pixels: choose another --image-size") from error


def _saved_state(prepared: Prepared) -> bytes | None:
    """Return the saved state, None if there is none; raise RunError if files have moved to other parts since then."""
    work = prepared.job.work
    state = read_checkpoint(work)
    if state is not None and (work / SPLIT_FILE).is_file():
        _check_unchanged(prepared.job, describe_moves(read_split(work / SPLIT_FILE), prepared.split))
    return state


def _check_unchanged(job: TrainJob, changes: str) -> None:
    """Raise RunError if there are changes since the training to resume was started."""
    if changes:
        raise RunError(
            f"{job.data} has changed since the training in {job.work} was started: {changes}; undo that and repeat the "
            "command with --resume, or start again with --overwrite"
        )


def _load(job: TrainJob, split: Split, part: str, reader: ImageReader, reporter: Reporter) -> Part:
    """Decode a part of the split."""
    images = split.images(part)
    progress = partial(reporter.progress, f"decoding the {part} part")
    pixels = decode(job.data, images, reader, progress=progress)
    return Part(pixels, np.array([image.label for image in images], dtype=np.int64))


def _calibrate(prepared: Prepared, reporter: Reporter) -> TemperatureScaling | None:
    """Calibrate the kept weights on the validation part; return None, with a note, if it has no images."""
    trainer, val = prepared.trainer, prepared.parts["val"]
    if not len(val.labels):
        reporter.note(
            "the probabilities are not calibrated, because there is no validation part: "
            f"{prepared.split.validation_advice()}"
        )
        return None
    if few := prepared.split.small_validation_part():
        reporter.note(f"the probabilities are a rough estimate, because {few}")
    scaling = calibrate(trainer.ema_model, trainer.recipe.model, val.images, val.labels)
    _LOGGER.info("divided the logits by %.3f, fitted on %d validation images", scaling.temperature, scaling.n_images)
    return scaling


def _accuracy(trainer: Trainer, part: Part) -> float | None:
    """Return the top-1 accuracy of `ema_model` on a part of the split, None if it has no images."""
    if not len(part.labels):
        return None
    return float((predict_logits(trainer.ema_model, part.images).argmax(axis=1) == part.labels).mean())
