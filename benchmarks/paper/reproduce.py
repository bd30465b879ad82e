"""The paper's Tables 1 and 2: its rows trained again, ours beside theirs."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from overfly.benchmarks.paper.published import NOT_YET, OK, PAPER_ROWS, OurRow, PaperRow, PaperTable
from overfly.benchmarks.paper.table import paper_markdown
from overfly.runtime.documents import write_document
from overfly.runtime.errors import OutputError, WeightsError
from overfly.runtime.files.atomic import check_outside, write_atomically
from overfly.runtime.reporter import SILENT, Reporter

if TYPE_CHECKING:
    from overfly.training.job import TrainJob
    from overfly.training.recipe import Recipe
    from overfly.training.run import Run

PAPER_SCHEMA = "overfly.paper/2"

# The paper counts for its own data set and input, whatever the data at hand.
_PAPER_CLASSES = 21
_PAPER_IMAGE_SIZE = 256


@dataclass(frozen=True, slots=True)
class PaperJob:
    """What to reproduce.

    Attributes
    ----------
    data
        The data folder.
    out
        Where the runs (one folder each) and the table go.
    weights
        Model name to weights file; a model that is not named takes torchvision's ImageNet weights.
    epochs, image_size
        None is the paper's 60 and 256.
    """

    data: Path
    out: Path
    weights: dict[str, str]
    epochs: int | None = None
    image_size: int | None = None
    seed: int = 0


def reproduce(job: PaperJob, *, reporter: Reporter = SILENT) -> PaperTable:
    """Train each row with the ``paper`` recipe; write ``paper.json`` and ``paper.md`` anew after each.

    A row that has its run already is not trained again; an interrupted one goes on. A row whose
    weights can't be had stays in the table with the reason.

    Raises
    ------
    OverflyError
        For anything but missing weights; for runs made otherwise before anything is trained.
    """
    from overfly.training.recipe import RECIPES, override

    check_outside(job.out, job.data)
    if job.out.exists() and not job.out.is_dir():
        raise OutputError(f"{job.out} is a file: choose another --out")
    paper = override(RECIPES["paper"], epochs=job.epochs, image_size=job.image_size)
    trainings = [_training(row, job, paper) for row in PAPER_ROWS]
    runs = _finished_runs(job, trainings, reporter)
    rows = [_row_so_far(row, run) for row, run in zip(PAPER_ROWS, runs, strict=True)]
    for i, training in enumerate(trainings):
        if rows[i].status == NOT_YET:
            reporter.note(f"{rows[i].name}: {paper.epochs} epochs")
            rows[i] = _train_row(rows[i], training, reporter)
        reporter.note(f"{rows[i].name}: {_status(rows[i])}")
        table = PaperTable(paper.epochs, paper.image_size, job.seed, tuple(rows))
        _write(job.out, table)
    return table


def _write(out: Path, table: PaperTable) -> None:
    """Write the table's two files."""
    out.mkdir(parents=True, exist_ok=True)
    write_document(out / "paper.json", table, schema=PAPER_SCHEMA)
    write_atomically(out / "paper.md", paper_markdown(table).encode())


def _training(row: PaperRow, job: PaperJob, paper: "Recipe") -> "TrainJob":
    """Return what to train for a row."""
    from overfly.training.job import TrainJob
    from overfly.training.recipe import override

    weights = job.weights.get(row.model, "imagenet") if row.pretrained else "none"
    recipe = override(paper, model=row.model)
    return TrainJob(data=job.data, out=job.out / row.name, recipe=recipe, weights=weights, seed=job.seed)


def _row_so_far(row: PaperRow, run: "Run | None") -> OurRow:
    """Return a row with the figures of the run that is there, or without any."""
    params, flops = _complexity(row.model)
    blank = OurRow(row.name, NOT_YET, None, None, None, params, flops, None, None, None)
    return _filled(blank, run) if run else blank


def _train_row(blank: OurRow, training: "TrainJob", reporter: Reporter) -> OurRow:
    """Train a row's model, or go on with it."""
    from overfly.training.job import train

    try:
        return _filled(blank, train(training, resume=True, reporter=reporter))
    except WeightsError as error:
        return replace(blank, status=str(error))


def _filled(blank: OurRow, run: "Run") -> OurRow:
    """Return a row with a run's figures."""
    record, metrics = run.record, run.record.metrics
    return replace(
        blank,
        status=OK,
        accuracy=100 * metrics.accuracy,
        f1_macro=100 * metrics.f1_macro,
        kappa=100 * metrics.kappa,
        seconds=record.seconds,
        machine=record.machine,
        versions=record.versions,
    )


def _finished_runs(job: PaperJob, trainings: "list[TrainJob]", reporter: Reporter) -> "list[Run | None]":
    """Return the run of each training, None if there is none yet.

    Raises
    ------
    OutputError
        If a run is that of another training.
    """
    from overfly.training.data.dataset import scan
    from overfly.training.data.split import make_split
    from overfly.training.run import Run

    runs = [Run.open(training.out) if training.out.exists() else None for training in trainings]
    if not any(runs):
        return runs
    dataset = scan(job.data, progress=partial(reporter.progress, "hashing"))
    split = make_split(dataset, test_fraction=trainings[0].recipe.test_fraction, seed=job.seed)
    for training, run in zip(trainings, runs, strict=True):
        difference = run and run.record.identity.first_difference(training.identity(split))
        if run is not None and difference:
            name, found, expected = difference
            reason = f"with {name} = {found}, not {expected}"
            if name == "split_sha256":
                reason = f"on {run.record.data}, whose images are not those of {job.data}"
            raise OutputError(f"{training.out} holds a run {reason}: use the same again, or choose another --out")
    return runs


def _complexity(model: str) -> tuple[str, str]:
    """Return params and FLOPs as the paper prints them."""
    import torch

    from overfly.training.models.build import build_model
    from overfly.training.models.complexity import count

    with torch.device("meta"):  # the shapes are enough
        complexity = count(build_model(model, _PAPER_CLASSES), image_size=_PAPER_IMAGE_SIZE)
    return _millions(complexity.params), _flops(complexity.flops)


def _millions(number: int) -> str:
    """Return a number in millions with four decimals, as the paper prints it."""
    return f"{number / 1e6:.4f}M"


def _flops(number: int) -> str:
    """Return millions, or billions from 1 G on, with four decimals."""
    return f"{number / 1e9:.4f}G" if number >= 1e9 else _millions(number)  # noqa: PLR2004


def _status(row: OurRow) -> str:
    """Return a row's result in a few words."""
    return row.status if row.accuracy is None else f"accuracy {row.accuracy:.2f}%"
