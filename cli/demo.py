"""``overfly demo``: sample, train, export and bench in one command, without a network."""

from functools import partial
from itertools import count
from pathlib import Path

import click

from overfly.cli import options
from overfly.cli.options import option
from overfly.cli.output import print_document
from overfly.cli.recipe_options import field_option

_DEFAULT_OUT = Path("overfly-demo")

# Without pretrained weights, on a few hundred drawn images: a high learning rate learns them in minutes on a CPU.
_SAMPLE_RECIPE = {
    "epochs": 20,
    "image_size": 128,
    "batch_size": 16,
    "batch_shares": 1,
    "learning_rate": 2e-3,
    "label_smoothing": 0.05,
    "sam_rho": 0.0,
    "ema_decay": 0.9,
    "rotation": 0.0,
    "min_crop": 1.0,
    "jitter": 0.1,
}
# Two thirds of the map are right then, after less than two minutes.
_MAP_RECIPE = _SAMPLE_RECIPE | {"epochs": 8, "image_size": 96}
# `map` takes the smallest variant, and the export of each other one takes some seconds.
_MAP_VARIANTS = ("int8",)
# From ImageNet weights, a few epochs are enough for a first result.
_OWN_DATA_RECIPE = {"epochs": 5, "sam_rho": 0.0}


@click.command(
    short_help="Run sample, train, export and bench, without a network.",
    epilog=options.example("overfly demo overfly-demo --epochs 5"),
)
@click.argument("out", type=options.OUTPUT, required=False)
@option("--data", type=options.PATH, show_default="a drawn data set", help="Your own labeled folder.")
@options.weights(show_default="none for the drawn data set, imagenet for your own")
@field_option("epochs", f"{_SAMPLE_RECIPE['epochs']} for the drawn data set, {_OWN_DATA_RECIPE['epochs']} for your own")
@option("--map", "makes_map", is_flag=True, help="Draw orthophotos instead, and end with a map of one of them.")
@options.seed
@options.overwrite
@options.as_json
def command(
    out: Path | None,
    data: Path | None,
    weights: str | None,
    epochs: int | None,
    makes_map: bool,
    seed: int,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Draw a data set, train on it, export the model and measure it: everything that overfly does, in one command.

    With --map, everything from two orthophotos and a file of polygons to a map: chips, train, export and map.

    OUT is the folder to write: by default overfly-demo, or overfly-demo-2 and so on if that exists.
    """
    base = _free(_DEFAULT_OUT) if out is None else out
    if makes_map:
        if data or weights or as_json:
            raise click.UsageError("--map goes with neither --data nor --weights nor --json")
        _make_map(base, epochs=epochs, seed=seed, overwrite=overwrite)
        return
    from overfly.runtime.extras import extra_packages, require_extra

    require_extra("all", *(package for extra in ("train", "export", "bench") for package in extra_packages(extra)))
    from overfly.benchmarks.job import BenchJob, bench
    from overfly.benchmarks.rendering.terminal import print_report
    from overfly.benchmarks.results.records import REPORT_SCHEMA
    from overfly.cli.terminal import Terminal
    from overfly.export.exporter import ExportJob, export
    from overfly.runtime.files.atomic import atomic_folder
    from overfly.runtime.files.output_guards import check_overwrite
    from overfly.training.job import TrainJob, train
    from overfly.training.recipe import RECIPES, override
    from overfly.training.synthetic.dataset import write_sample

    choices = _SAMPLE_RECIPE if data is None else _OWN_DATA_RECIPE
    recipe = override(override(RECIPES["default"], **choices), epochs=epochs)
    start = weights or ("none" if data is None else "imagenet")
    run, bundle, report = base / "run", base / "bundle", base / "report"
    for folder in (run, bundle, report):
        check_overwrite(folder, overwrite=overwrite)
    with Terminal() as terminal:
        if data is None:
            with atomic_folder(base / "data", overwrite=overwrite) as folder:
                write_sample(folder, seed=seed, progress=partial(terminal.progress, "drawing"))
        scenes = data or base / "data"
        terminal.note(f"training on {scenes}")
        job = TrainJob(data=scenes, out=run, recipe=recipe, weights=start, seed=seed)
        train(job, overwrite=overwrite, reporter=terminal)
        terminal.note("exporting")
        export(ExportJob(run=run, out=bundle), overwrite=overwrite, reporter=terminal)
        terminal.note("measuring")
        bench_job = BenchJob(bundles=(bundle,), data=scenes, out=report, runs=(run,), quick=True)
        result = bench(bench_job, overwrite=overwrite, reporter=terminal)
    if as_json:
        print_document(result, REPORT_SCHEMA)
    else:
        print_report(result)
        click.echo(f"run:    {run}\nbundle: {bundle}\nreport: {report / 'report.html'}")


def _make_map(base: Path, *, epochs: int | None, seed: int, overwrite: bool) -> None:
    """Draw two orthophotos and the polygons of one, train on that one, and map the other."""
    from overfly.runtime.extras import extra_packages, require_extra

    require_extra("all", *(package for extra in ("train", "export", "geo") for package in extra_packages(extra)))
    from overfly.cli.terminal import Terminal
    from overfly.export.exporter import ExportJob, export
    from overfly.runtime.files.atomic import atomic_folder
    from overfly.runtime.files.output_guards import check_overwrite
    from overfly.runtime.mapping.job import MapJob, make_maps
    from overfly.training.data.chips.job import ChipsJob, cut_chips
    from overfly.training.job import TrainJob, train
    from overfly.training.recipe import RECIPES, override
    from overfly.training.synthetic.landscape import SCENE_M, make_landscape, write_labels, write_orthophoto

    rasters, scenes, run, bundle, maps = (base / name for name in ("rasters", "scenes", "run", "bundle", "map"))
    for folder in (rasters, scenes, run, bundle, maps):
        check_overwrite(folder, overwrite=overwrite)
    recipe = override(override(RECIPES["default"], **_MAP_RECIPE), epochs=epochs)
    with Terminal() as terminal:
        with atomic_folder(rasters, overwrite=overwrite) as folder:
            known = make_landscape(20, 20, northing=5_000_000.0, first=0, seed=seed)
            new = make_landscape(10, 14, northing=4_990_000.0, first=known.classes.size, seed=seed + 1)
            write_orthophoto(folder / "known.tif", known, seed=seed, progress=partial(terminal.progress, "drawing"))
            write_labels(folder / "known.geojson", known)
            write_orthophoto(folder / "new.tif", new, seed=seed, progress=partial(terminal.progress, "drawing more"))
        terminal.note(f"cutting scenes from {rasters / 'known.tif'}")
        chips = ChipsJob(
            rasters=(rasters / "known.tif",), labels=rasters / "known.geojson", scene_m=SCENE_M, out=scenes, block=4
        )
        cut_chips(chips, overwrite=overwrite, reporter=terminal)
        job = TrainJob(data=scenes, out=run, recipe=recipe, weights="none", seed=seed)
        train(job, overwrite=overwrite, reporter=terminal)
        terminal.note("exporting")
        export(ExportJob(run=run, out=bundle, variants=_MAP_VARIANTS), overwrite=overwrite, reporter=terminal)
        terminal.note(f"mapping {rasters / 'new.tif'}")
        make_maps(
            MapJob(bundle=bundle, rasters=(rasters / "new.tif",), out=maps), overwrite=overwrite, reporter=terminal
        )
    click.echo(f"rasters: {rasters}\nscenes:  {scenes}\nbundle:  {bundle}\nmap:     {maps / 'preview.png'}")


def _free(path: Path) -> Path:
    """Return `path`, or the first of ``path-2``, ``path-3``, ... that does not exist."""
    if not path.exists():
        return path
    return next(free for n in count(2) if not (free := path.with_name(f"{path.name}-{n}")).exists())
