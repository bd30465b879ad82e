"""``overfly train``: a labelled folder becomes a run."""

import json
from pathlib import Path

import click

from overfly.cli import options
from overfly.cli.recipes import RecipeCommand, changed_recipe, recipe_options


@click.command(cls=RecipeCommand, short_help="Fine-tune a model on a labelled folder: a run.")
@click.argument("data", type=options.FOLDER)
@options.out("run")
@recipe_options
@click.option(
    "--weights",
    default="imagenet",
    show_default=True,
    metavar="imagenet|none|FILE",
    help="Start from torchvision's ImageNet weights (downloaded once), nothing, or a .pth or .safetensors file.",
)
@click.option("--split", "split_file", type=options.FOLDER, help="Use this split.json instead of drawing a new split.")
@options.seed
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "xpu"]), default="auto", show_default=True)
@click.option("--resume", is_flag=True, help="Go on with an interrupted run.")
@options.overwrite
@options.as_json
def command(
    data: Path,
    out: Path,
    recipe: str,
    weights: str,
    split_file: Path | None,
    seed: int,
    device: str,
    resume: bool,
    overwrite: bool,
    as_json: bool,
    **changes: object,
) -> None:
    """Fine-tune a model on DATA, a folder with one sub-folder of pictures for each class.

    Ctrl-C finishes the step, saves, and ends; --resume then goes on to the weights of a training without interruption.
    A second Ctrl-C stops at once. Killed at any moment, it goes on from what was saved last: after each epoch, and
    every five minutes within one.
    """
    from overfly.runtime.errors import needs_extra

    choices = changed_recipe(recipe, changes)
    with needs_extra("train"):
        # Drawn with at the very end; that it is missing must show now.
        import matplotlib.figure  # noqa: F401

        from overfly.cli.terminal import Terminal
        from overfly.training.distributed import join
        from overfly.training.train import Job, train

    job = Job(data, out, choices, weights, seed, split_file, device)
    with Terminal() as terminal, join() as team:
        try:
            run = train(job, resume=resume, overwrite=overwrite, reporter=terminal, team=team)
        except KeyboardInterrupt:
            if not team.leads:
                raise click.exceptions.Exit(130) from None
            if job.work.exists():
                terminal.note(f"interrupted: {job.work} holds what was done; go on with the same command and --resume")
            raise
    if not team.leads:
        return
    metrics = run.record.metrics
    if as_json:
        from dataclasses import asdict

        click.echo(json.dumps({"run": str(out), **asdict(metrics)}))
        return
    n_right = round(metrics.accuracy * metrics.n_images)
    click.echo(
        f"test accuracy {metrics.accuracy:.2%} ({n_right} of {metrics.n_images} images)  "
        f"macro F1 {metrics.f1_macro:.2%}  kappa {metrics.kappa:.2%}"
    )
    click.echo(f"run: {out}")
