"""From a folder of labelled scenes to a run."""

import csv
import dataclasses
import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from overfly.runtime.documents import dump_document, write_document
from overfly.runtime.errors import OutputError, RunError
from overfly.runtime.evaluation.intervals import bootstrap_intervals
from overfly.runtime.evaluation.metrics import Confusion, confusion_matrix, most_confused, summarize
from overfly.runtime.extras import require_extra
from overfly.runtime.files.atomic import (
    check_inputs_safe,
    check_outside,
    check_overwrite,
    explain_os_errors,
    remove,
    remove_partials,
    replace_folder,
    sha256_file,
    write_atomically,
)
from overfly.runtime.images.reading import ImageBatch
from overfly.runtime.reporter import SILENT, Reporter
from overfly.runtime.versions import installed_versions
from overfly.training.data.dataset import Dataset, decode, scan
from overfly.training.data.split import PARTS, SPLIT_SCHEMA, Split, make_split, match_split, read_split
from overfly.training.distributed.team import ALONE, Team
from overfly.training.loop.checkpoint import Saver, read_checkpoint, restore_state
from overfly.training.loop.interruption import defer_interrupts
from overfly.training.loop.trainer import Epoch, Trainer, predict_logits
from overfly.training.memory import keep_freed_memory
from overfly.training.messages import data_remarks, epoch_row, near_duplicate_report, report_progress
from overfly.training.models.build import PreprocessedModel, build_model
from overfly.training.models.registry import MODELS
from overfly.training.models.weights import load_pretrained
from overfly.training.near_duplicates import NearDuplicate, near_duplicates
from overfly.training.plots import plot_confusion, plot_curves
from overfly.training.recipe import Recipe, override, without_pretraining
from overfly.training.run import (
    RUN_SCHEMA,
    ConfusedPair,
    Run,
    RunRecord,
    choose_device,
    describe_place,
    save_checkpoint,
    save_split,
)
from overfly.training.run_layout import HISTORY, RUN_FILE

_TO_GO_ON = "what was saved before is whole: put that right, and go on with the same command and --resume"


@dataclass(frozen=True, slots=True)
class TrainJob:
    """What to train, on what, and where to put it.

    Attributes
    ----------
    data
        The data folder.
    out
        The run folder to make. Until it is complete, the work is in ``<out>.unfinished`` beside it.
    recipe
        How to train.
    weights
        ``imagenet``, ``none`` or the path of a weights file.
    seed
        Seed of the split, the classifier's first weights, the shuffling and the augmentation.
    split_file
        A ``split.json`` to use again instead of drawing a new split.
    device
        ``auto``, ``cpu``, ``cuda`` or ``xpu``.
    """

    data: Path
    out: Path
    recipe: Recipe
    weights: str = "imagenet"
    seed: int = 0
    split_file: Path | None = None
    device: str = "auto"

    @property
    def work(self) -> Path:
        """Where the run grows until it is complete."""
        out = self.out.absolute()
        return out.with_name(f"{out.name}.unfinished")


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of the split: uint8 images ``[N, S, S, 3]`` and int64 labels ``[N]``."""

    images: ImageBatch
    labels: npt.NDArray[np.int64]


def train(
    job: TrainJob, *, resume: bool = False, overwrite: bool = False, reporter: Reporter = SILENT, team: Team = ALONE
) -> Run:
    """Train a model and write its run.

    Parameters
    ----------
    job
        What to do.
    resume
        Go on with the unfinished run of the same job, if there is one.
    overwrite
        Replace a finished or an unfinished run; the finished one stays until the new one is complete.
    reporter
        Hears of progress.
    team
        The processes that train together, each of which calls this with the same job. The first one
        alone writes and reports.

    Returns
    -------
    Run
        The finished run; its folder is on the first process's machine.

    Raises
    ------
    OverflyError
        For bad data, weights, device or output; see `overfly.runtime.errors`.
    """
    require_extra("train")
    if team.leads:
        _refuse_output(job, resume=resume, overwrite=overwrite)
    else:
        reporter = SILENT
    device = team.place(choose_device(job.device))
    if job.weights == "none":
        job = dataclasses.replace(job, recipe=without_pretraining(job.recipe))
    dataset = scan(job.data, progress=partial(reporter.progress, "hashing"))
    check_outside(job.out, job.data)
    for note in data_remarks(dataset):
        reporter.note(note)
    split = _split(job, dataset)
    fractions = override(job.recipe, test_fraction=split.test_fraction, val_fraction=split.val_fraction)
    job = dataclasses.replace(job, recipe=fractions)
    _require_validation(job, split)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(job.seed)
        model = build_model(job.recipe.model, len(dataset.classes))
        load_pretrained(model, job.recipe.model, job.weights)
        deployed = PreprocessedModel(model, job.recipe.image)
        _require_size(deployed, job.recipe)
        # All of them now: a picture that can't be read must not show after hours of training.
        parts = {part: _load(job, split, part, reporter) for part in PARTS}
        identity = _identity(job, split)
        team.require_same(identity)
        alike = near_duplicates(split, {part: loaded.images for part, loaded in parts.items()}) if team.leads else None
        if not (resume and job.work.exists()):
            for note in near_duplicate_report(alike):
                reporter.note(note)
        n_images = len(parts["train"].labels)
        trainer = Trainer(deployed, job.recipe, n_images=n_images, seed=job.seed, device=device, team=team)
        # Not before all that could have stopped us.
        work_folder = _work_folder(job, resume=resume, overwrite=overwrite) if team.leads else nullcontext()
        with work_folder, keep_freed_memory(), explain_os_errors(job.work, _TO_GO_ON):
            # As they were read: their file may be gone by the end.
            weights = str(identity["weights"])
            history = _fit(job, trainer, parts, identity, resume=resume, reporter=reporter)
            record = team.from_first(
                lambda: _write(job, weights, trainer, split, parts["test"], history, alike, reporter)
            )
    if team.leads:
        _refuse_what_appeared(job, overwrite=overwrite)
        replace_folder(job.work, job.out.absolute())
    return Run(job.out, record)


def _refuse_output(job: TrainJob, *, resume: bool, overwrite: bool) -> None:
    """Raise unless the run may be written."""
    if job.recipe.model not in MODELS:
        raise RunError(f"unknown model {job.recipe.model!r}: choose one of {', '.join(sorted(MODELS))}")
    check_inputs_safe(job.out, [job.data])
    check_overwrite(job.out, overwrite=overwrite)
    # What is at `out` stays until the run is complete; what is in the work folder goes at once.
    inputs = [job.data, *([job.split_file] if job.split_file else [])]
    if job.weights not in {"imagenet", "none"}:
        inputs.append(Path(job.weights))
    check_inputs_safe(job.work, inputs)
    if job.work.exists() and not (resume or overwrite):
        raise OutputError(
            f"{job.work} holds an unfinished run: add --resume to go on with it, or --overwrite to start again"
        )


def _refuse_what_appeared(job: TrainJob, *, overwrite: bool) -> None:
    """Raise if something came to be where the run is to go, hours after it was looked at first."""
    try:
        check_overwrite(job.out, overwrite=overwrite)
    except OutputError as error:
        raise OutputError(
            f"something appeared at {job.out} during the training; the run is whole in {job.work}: move away what "
            "appeared and repeat the command with --resume, or replace it with --resume --overwrite"
        ) from error


@contextmanager
def _work_folder(job: TrainJob, *, resume: bool, overwrite: bool) -> Iterator[None]:
    """Make the folder in which the run grows, and delete it again should nothing have come to it.

    That it can't be made, or that another training has made it, must not show after hours.
    """
    if resume:
        remove_partials(job.work)
    elif overwrite:
        remove(job.work)
    with explain_os_errors(job.work, "choose another --out"):
        job.work.mkdir(parents=True, exist_ok=resume)
    try:
        yield
    finally:
        with suppress(OSError):  # it holds something
            job.work.rmdir()


def _split(job: TrainJob, dataset: Dataset) -> Split:
    """Return the split to use: the given one if it fits, else a new one."""
    if job.split_file is not None:
        return match_split(read_split(job.split_file), dataset)
    recipe = job.recipe
    return make_split(dataset, test_fraction=recipe.test_fraction, val_fraction=recipe.val_fraction, seed=job.seed)


def _require_validation(job: TrainJob, split: Split) -> None:
    """Raise if the best epoch is to be kept, and nothing is there to tell it by."""
    if job.recipe.keep == "best" and not split.images("val"):
        another = "leave --split out and add" if job.split_file else "add"
        raise RunError(
            f"to keep the best epoch takes a validation part, and this split has none: {another} --val-fraction 0.1, "
            "or keep the last epoch"
        )


def _require_size(deployed: PreprocessedModel, recipe: Recipe) -> None:
    """Raise if the model's layers leave nothing of an image of the recipe's size."""
    size = recipe.image_size
    try:
        predict_logits(deployed, np.zeros((1, size, size, 3), np.uint8))
    except (RuntimeError, MemoryError) as error:
        raise RunError(f"{recipe.model} can't take {size} x {size} pixels: choose another --image-size") from error


def _fit(
    job: TrainJob,
    trainer: Trainer,
    parts: dict[str, _Part],
    identity: dict[str, object],
    *,
    resume: bool,
    reporter: Reporter,
) -> list[Epoch]:
    """Run the epochs, saving the state after each."""
    history: list[Epoch] = []
    state = trainer.team.from_first(lambda: read_checkpoint(job.work) if resume else None)
    if state is not None:
        history = restore_state(job.work, state, trainer, identity)
        reporter.note(f"going on after {_place(trainer)}")
    with defer_interrupts() as interruption:
        saver = Saver(job.work, trainer, history, identity, interruption)
        while trainer.epoch < job.recipe.epochs:
            history.append(_run_epoch(trainer, parts, saver, reporter))
            if job.recipe.keep == "best" and best_epoch(history) == trainer.epoch:
                trainer.save_best()
            saver.save()
            if trainer.team.leads:
                write_atomically(job.work / HISTORY, _history_csv(history))
            reporter.row(epoch_row(history[-1], trainer))
            saver.after_epoch()
    return history


def _run_epoch(trainer: Trainer, parts: dict[str, _Part], saver: Saver, reporter: Reporter) -> Epoch:
    """Run an epoch, or the rest of one, and judge it on the validation part."""

    def after_step(done: int, total: int) -> None:
        report_progress(reporter, trainer, done, total)
        saver.after_step()

    images, labels = parts["train"].images, parts["train"].labels
    loss, seconds = trainer.run_epoch(images, labels, after_step)
    accuracy = _val_accuracy(trainer, parts["val"])
    rate = trainer.learning_rate(trainer.step - 1)
    return Epoch(trainer.epoch, loss, accuracy, rate, len(labels) / seconds, seconds)


def _val_accuracy(trainer: Trainer, val: _Part) -> float | None:
    """Return the top-1 accuracy of the averaged weights on the validation part, None if that is not for us to know."""
    if not (len(val.labels) and trainer.team.leads):
        return None
    return float((predict_logits(trainer.averaged, val.images).argmax(axis=1) == val.labels).mean())


def _write(
    job: TrainJob,
    weights: str,
    trainer: Trainer,
    split: Split,
    test: _Part,
    history: list[Epoch],
    alike: list[NearDuplicate] | None,
    reporter: Reporter,
) -> RunRecord:
    """Judge the kept weights on the test part and write the rest of the run's files."""
    if job.recipe.keep == "best":
        trainer.restore_best()
        reporter.note(f"keeping the weights of epoch {best_epoch(history)}, the best on the validation part")
    logits = predict_logits(trainer.averaged, test.images, progress=partial(reporter.progress, "testing"))
    confusion = confusion_matrix(test.labels, logits.argmax(axis=1), n_classes=len(split.classes))
    record = RunRecord(
        model=job.recipe.model,
        classes=split.classes,
        image=job.recipe.image,
        data=str(job.data.absolute()),
        recipe=job.recipe,
        weights=weights,
        seed=job.seed,
        device=trainer.device.type,
        precision=trainer.precision,
        metrics=summarize(confusion),
        intervals=bootstrap_intervals(confusion),
        most_confused=_most_confused(confusion, split.classes),
        near_duplicates=None if alike is None else tuple(alike),
        machine=describe_place(trainer.device),
        seconds=sum(epoch.seconds for epoch in history),
        versions=installed_versions(),
        checkpoint_sha256=save_checkpoint(job.work, trainer.averaged),
        split_sha256=save_split(job.work, split),
    )
    # Again, as a run that was stopped after its last state was saved comes here without it.
    write_atomically(job.work / HISTORY, _history_csv(history))
    plot_curves(job.work / "curves.png", history)
    plot_confusion(job.work / "confusion.png", confusion, split.classes)
    write_document(job.work / RUN_FILE, record, schema=RUN_SCHEMA)
    return record


def _most_confused(confusion: Confusion, classes: tuple[str, ...]) -> tuple[ConfusedPair, ...]:
    """Return the pairs with the most errors, with the number of images that the one has."""
    n_true = dict(zip(classes, confusion.sum(axis=1).tolist(), strict=True))
    return tuple(ConfusedPair(*pair, n_true[pair[0]]) for pair in most_confused(confusion, classes))


def _place(trainer: Trainer) -> str:
    """Return how far a training has come, for a person."""
    epochs = trainer.recipe.epochs
    if trainer.current is None:
        return f"epoch {trainer.epoch} of {epochs}"
    return f"step {trainer.current.n_done} of {trainer.steps_per_epoch} in epoch {trainer.epoch + 1} of {epochs}"


def best_epoch(history: list[Epoch]) -> int:
    """Return the number of the epoch with the highest validation accuracy, of equals the latest."""
    return max(history, key=lambda epoch: (epoch.val_accuracy or 0.0, epoch.epoch)).epoch


def _load(job: TrainJob, split: Split, part: str, reporter: Reporter) -> _Part:
    """Decode a part of the split."""
    scenes, stage = split.images(part), f"decoding the {part} part"
    images = decode(job.data, scenes, size=job.recipe.image_size, progress=partial(reporter.progress, stage))
    return _Part(images, np.array([scene.label for scene in scenes], dtype=np.int64))


def _identity(job: TrainJob, split: Split) -> dict[str, object]:
    """Return all that decides the weights."""
    return {
        **dataclasses.asdict(job.recipe),
        "seed": job.seed,
        "weights": weights_id(job.weights),
        "split": hashlib.sha256(dump_document(split, schema=SPLIT_SCHEMA).encode()).hexdigest(),
    }


def weights_id(weights: str) -> str:
    """Return what says which weights were meant, wherever the file lies."""
    return weights if weights in {"imagenet", "none"} else f"sha256:{sha256_file(Path(weights))}"


def _history_csv(history: list[Epoch]) -> bytes:
    """Return the epochs as CSV, one row each."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in dataclasses.fields(Epoch))
    writer.writerows(dataclasses.astuple(epoch) for epoch in history)
    return text.getvalue().encode()
