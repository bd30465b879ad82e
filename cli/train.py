"""``overfly train``: make a run from a labeled folder."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from overfly.cli import options
from overfly.cli.options import option
from overfly.cli.recipe_options import OWN_FIELDS, RecipeCommand, changed_recipe, recipe_options
from overfly.runtime.files.names import utf8_text
from overfly.training.recipe import ACCELERATORS

if TYPE_CHECKING:
    from overfly.training.run import RunRecord


@click.command(
    cls=RecipeCommand,
    short_help="Fine-tune a model on a labeled folder.",
    epilog=options.example("overfly train scenes --out run"),
)
@click.argument("data", type=options.PATH)
@options.out("run")
@recipe_options
@options.weights(default="imagenet")
@option(
    "--split",
    "split_file",
    type=options.PATH,
    show_default="split.json or part folders such as train and test in DATA, otherwise a new split",
    help="Use this split.json.",
)
@options.value_range
@options.seed
@option(
    "--device",
    type=click.Choice(["auto", "cpu", *ACCELERATORS]),
    default="auto",
    help="Where to train; auto uses a GPU if PyTorch has one, otherwise the CPU.",
)
@option("--resume", is_flag=True, help="Continue an interrupted run, if there is one.")
@options.overwrite
@options.as_json
def command(
    data: Path,
    out: Path,
    recipe: str,
    settings: dict[str, object],
    split_file: Path | None,
    resume: bool,
    overwrite: bool,
    as_json: bool,
    **choices: Any,
) -> None:
    """Fine-tune a model on DATA, a folder with one sub-folder of images for each class.

    The state is saved after each epoch, and every five minutes within an epoch. Ctrl-C finishes the step, saves, and
    stops; a second Ctrl-C stops at once. Continue with --resume; the result is identical to an uninterrupted run.
    """
    from overfly.runtime.extras import require_extra

    own = {name: choices.pop(name) for name in OWN_FIELDS}
    changed, names = changed_recipe(recipe, settings, **own)
    require_extra("train")
    if names & {"test_fraction", "val_fraction"}:
        _check_no_given_split(data, split_file)
    from overfly.cli.terminal import Terminal
    from overfly.training.distributed.team import join
    from overfly.training.job import TrainJob, train

    job = TrainJob(data=data, out=out, recipe=changed, split_file=split_file, **choices)
    with Terminal() as terminal, join() as team:
        try:
            run = train(job, resume=resume, overwrite=overwrite, reporter=terminal, team=team)
        except KeyboardInterrupt:
            if not team.leads:
                raise click.exceptions.Exit(130) from None
            if job.work.exists():
                terminal.note(
                    f"interrupted: {job.work} holds the saved state; continue with the same command and --resume"
                )
            raise
    if not team.leads:
        return
    if as_json:
        click.echo(json.dumps({"run": utf8_text(out), **_figures(run.record)}))
        return
    for line in _summary(run.record):
        click.echo(line)
    click.echo(f"run: {out}")


def _check_no_given_split(data: Path, split_file: Path | None) -> None:
    """Raise a UsageError if a split is given, because fractions would not change it."""
    from overfly.training.data.layout import find_layout
    from overfly.training.data.split import given_split

    if given := str(split_file) if split_file else given_split(data, find_layout(data).parts):
        raise click.UsageError(f"the split is given by {given}: leave out --test-fraction and --val-fraction")


def _figures(record: "RunRecord") -> dict[str, object]:
    """Return the figures of a run for ``--json``, by the names that a report has for them."""
    intervals = {f"{name}_ci95": ends for name, ends in record.intervals.items()}
    confused = [dataclasses.asdict(pair) for pair in record.most_confused]
    return {**dataclasses.asdict(record.metrics), **intervals, "most_confused": confused}


def _summary(record: "RunRecord") -> Iterator[str]:
    """Yield the figures of a run as lines for a person."""
    from overfly.runtime.evaluation.metrics import TITLES

    metrics, intervals = record.metrics, record.intervals
    n_right = round(metrics.accuracy * metrics.n_images)
    yield f"test part: {n_right} of {metrics.n_images} images right"
    width = max(map(len, TITLES.values()))
    for name, (low, high) in intervals.items():
        yield f"  {TITLES[name]:<{width}}  {getattr(metrics, name):7.2%}  95% interval {low:.2%} to {high:.2%}"
    if record.most_confused:
        yield "most confused:"
    for pair in record.most_confused:
        yield f"  {pair.truth} classified as {pair.taken_for}: {pair.n_images} of {pair.n_true}"
