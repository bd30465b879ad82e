"""Train the models of the paper's Tables 1 and 2 again."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from overfly.benchmarks.paper.published import PUBLISHED_ROWS, PublishedRow
from overfly.benchmarks.paper.table import NOT_TRAINED, TRAINED, PaperTable, ReproducedRow, paper_markdown
from overfly.runtime.documents import write_document
from overfly.runtime.errors import OutputError, WeightsError
from overfly.runtime.files.atomic import write_atomically
from overfly.runtime.files.output_guards import check_outside
from overfly.runtime.reporter import SILENT, Reporter

if TYPE_CHECKING:
    from overfly.training.job import TrainJob
    from overfly.training.recipe import Recipe
    from overfly.training.run import Run

PAPER_SCHEMA = "overfly.paper/2"

# The paper counts parameters and FLOPs for UC Merced at 256 x 256 pixels. So do we, whatever the data folder is.
_PAPER_CLASSES = 21
_PAPER_IMAGE_SIZE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperJob:
    """What to reproduce.

    Attributes
    ----------
    data
        The data folder.
    out
        The folder for the runs, one folder each, and the table.
    weights
        Weights file by model name; a model without an entry takes torchvision's ImageNet weights.
    epochs, image_size
        None takes the paper's 60 and 256.
    """

    data: Path
    out: Path
    weights: dict[str, str]
    epochs: int | None = None
    image_size: int | None = None
    seed: int = 0


def reproduce(job: PaperJob, *, reporter: Reporter = SILENT) -> PaperTable:
    """Train each row with the ``paper`` recipe; write ``paper.json`` and ``paper.md`` after each row.

    Finished runs in `job.out` are kept, an interrupted one is continued. If the weights of a row can't be loaded, its
    status says why, and the other rows are trained.

    Raises
    ------
    OverflyError
        For all other errors. Existing runs of other options or images are found before anything is trained.
    """
    from overfly.training.job import train
    from overfly.training.recipe import RECIPES, override

    check_outside(job.out, job.data)
    if job.out.exists() and not job.out.is_dir():
        raise OutputError(f"{job.out} is a file: choose another output")
    recipe = override(RECIPES["paper"], epochs=job.epochs, image_size=job.image_size)
    train_jobs = [_train_job(published, job, recipe) for published in PUBLISHED_ROWS]
    runs = _finished_runs(job, train_jobs, reporter)
    rows = [_row(published, run) for published, run in zip(PUBLISHED_ROWS, runs, strict=True)]
    for i, train_job in enumerate(train_jobs):
        if rows[i].status == NOT_TRAINED:
            reporter.note(f"{rows[i].name}: {recipe.epochs} epochs")
            try:
                rows[i] = _row(PUBLISHED_ROWS[i], train(train_job, resume=True, reporter=reporter))
            except WeightsError as error:
                rows[i] = replace(rows[i], status=str(error))
        result = rows[i].status if rows[i].accuracy is None else f"accuracy {rows[i].accuracy:.2f}%"
        reporter.note(f"{rows[i].name}: {result}")
        table = PaperTable(recipe.epochs, recipe.image_size, job.seed, tuple(rows))
        job.out.mkdir(parents=True, exist_ok=True)
        write_document(job.out / "paper.json", table, schema=PAPER_SCHEMA)
        write_atomically(job.out / "paper.md", paper_markdown(table).encode())
    return table


def _train_job(published: PublishedRow, job: PaperJob, recipe: "Recipe") -> "TrainJob":
    """Return the training of a row."""
    from overfly.training.job import TrainJob
    from overfly.training.recipe import override

    return TrainJob(
        data=job.data,
        out=job.out / published.name,
        recipe=override(recipe, model=published.model),
        weights=job.weights.get(published.model, "imagenet") if published.pretrained else "none",
        seed=job.seed,
    )


def _finished_runs(job: PaperJob, train_jobs: "list[TrainJob]", reporter: Reporter) -> "list[Run | None]":
    """Return the finished run of each row, None if there is none; raise OutputError if it was trained differently."""
    from overfly.training.data.dataset import scan
    from overfly.training.data.split import choose_split
    from overfly.training.run import Run

    runs = [Run.open(train_job.out) if train_job.out.exists() else None for train_job in train_jobs]
    if not any(runs):
        return runs
    dataset = scan(job.data, progress=partial(reporter.progress, "hashing"))
    recipe = train_jobs[0].recipe
    split = choose_split(dataset, test_fraction=recipe.test_fraction, val_fraction=recipe.val_fraction, seed=job.seed)
    for train_job, run in zip(train_jobs, runs, strict=True):
        difference = run and run.record.identity.first_difference(train_job.identity(split))
        if run is not None and difference:
            name, found, expected = difference
            reason = f"with {name} = {found}, expected {expected}"
            if name == "split_sha256":
                reason = f"on {run.record.data}, which has other images than {job.data}"
            raise OutputError(
                f"{train_job.out} has a run {reason}: use the options and data of that run, or choose another output"
            )
    return runs


def _row(published: PublishedRow, run: "Run | None") -> ReproducedRow:
    """Return a row with its counts, and with the figures of its run if there is one."""
    import torch

    from overfly.training.models.build import build_model
    from overfly.training.models.complexity import count

    with torch.device("meta"):  # only the shapes are needed
        complexity = count(build_model(published.model, _PAPER_CLASSES), image_size=_PAPER_IMAGE_SIZE)
    row = ReproducedRow(name=published.name, params=_count_text(complexity.params), flops=_count_text(complexity.flops))
    if run is None:
        return row
    record, metrics = run.record, run.record.metrics
    return replace(
        row,
        status=TRAINED,
        accuracy=100 * metrics.accuracy,
        f1_macro=100 * metrics.f1_macro,
        kappa=100 * metrics.kappa,
        seconds=record.seconds,
        machine=record.machine,
        versions=record.versions,
    )


def _count_text(number: int) -> str:
    """Return a count in millions, or in billions from 1 G on, with four decimals like the paper."""
    return f"{number / 1e9:.4f}G" if number >= 1e9 else f"{number / 1e6:.4f}M"  # noqa: PLR2004
