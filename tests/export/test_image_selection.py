"""Which images an export uses, and that the weights do not depend on the test part."""

import re
import shutil
from dataclasses import replace

import pytest

from overfly.export import image_selection
from overfly.export.exporter import ExportJob, export
from overfly.export.image_selection import select
from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.errors import DataError
from overfly.training.run import Run


def names(sample):
    return {image.name for image in sample.images}


@pytest.mark.parametrize(("val_fraction", "held_back"), [(0.0, "train"), (0.2, "train"), (0.5, "val")])
def test_no_image_both_calibrates_and_validates_and_only_golden_ones_are_of_the_test_part(
    make_run, val_fraction, held_back
):
    run = Run.open(make_run(val_fraction=val_fraction))
    split = run.split()
    chosen = select(split, run.path.with_name("data"), n_calibration=10, seed=0)
    parts = {file.name: file.part for file in split.files}
    assert [parts[name] for name in sorted(names(chosen.calibration))] == ["train"] * 10
    assert {parts[name] for name in names(chosen.validation)} == {held_back} == {chosen.validation.part}
    assert {parts[name] for name in names(chosen.golden)} == {"test"} == {chosen.golden.part}
    assert not names(chosen.calibration) & names(chosen.validation)
    assert [image.label for image in chosen.calibration.images] == [0, 1] * 5


@pytest.mark.parametrize(
    ("val_fraction", "n_calibration", "part"), [(0.5, 20, "val"), (0.2, 10, "train"), (0, 60, "train")]
)
def test_without_the_test_part_others_prove_the_bundle(make_run, tmp_path, val_fraction, n_calibration, part):
    run = Run.open(make_run(val_fraction=val_fraction))
    chosen = select(run.split(), tmp_path / "elsewhere", n_calibration=n_calibration, seed=0)
    assert chosen.golden.part == part
    assert chosen.golden.images
    assert names(chosen.golden) <= {image.name for image in run.split().images(part)}
    assert bool(names(chosen.golden) & names(chosen.calibration)) == (n_calibration == 60)


def test_test_images_behind_a_link_that_leads_nowhere_are_not_replaced_by_others(make_run, tmp_path, link):
    split = Run.open(make_run(val_fraction=0.2)).split()
    link(tmp_path / "elsewhere", tmp_path / "disk")
    with pytest.raises(DataError) as caught:
        select(split, tmp_path / "elsewhere", n_calibration=10, seed=0)
    assert str(tmp_path / "disk") in str(caught.value)


def test_a_validation_image_that_calibrates_does_not_validate(make_run):
    run = Run.open(make_run(val_fraction=0.6))
    split, data = run.split(), run.path.with_name("data")
    chosen = select(split, data, n_calibration=1, seed=0)
    (image,), twin = chosen.calibration.images, chosen.validation.images[0]
    files = [replace(f, sha256=image.sha256) if f.name == twin.name else f for f in split.files]
    validation = select(replace(split, files=tuple(files)), data, n_calibration=1, seed=0).validation
    assert validation.part == "val"
    assert names(validation) == names(chosen.validation) - {twin.name}


@pytest.mark.slow
@pytest.mark.parametrize(("asked", "n_images"), [(None, 2), (3, 3)])
def test_each_class_calibrates_unless_fewer_images_are_asked_for(make_run, monkeypatch, asked, n_images):
    monkeypatch.setattr(image_selection, "N_CALIBRATION", 1)
    run = make_run()
    bundle = export(ExportJob(run=run, out=run.with_name("bundle"), variants=("int8",), n_calibration=asked))
    assert len(bundle.variant("int8").calibration.sha256) == n_images


def weights(bundle):
    """Return the hash of every file that the golden images are not part of."""
    return {name: file.sha256 for name, file in bundle.manifest.files.items() if name != "golden.npz"}


@pytest.mark.slow
def test_the_test_part_is_not_needed_and_changes_no_weight(make_run):
    run = make_run(val_fraction=0.2)
    options = {"run": run, "n_calibration": 16, "max_drop_pp": 1.0}
    whole = export(ExportJob(out=run.with_name("whole"), **options))
    again = export(ExportJob(out=run.with_name("again"), **options))
    assert again.manifest.files == whole.manifest.files
    for image in Run.open(run).split().images("test"):
        (run.with_name("data") / image.name).unlink()
    without = export(ExportJob(out=run.with_name("without"), **options))
    assert (whole.manifest.golden_part, without.manifest.golden_part) == ("test", "train")
    assert weights(without) == weights(whole)
    assert {"int8.bin", "fp32.bin", "fp16.bin", "int8.xml", "model.onnx"} <= weights(whole).keys()


def test_a_test_part_that_is_there_in_part_is_an_error(make_run):
    run = make_run()
    lost, *_ = Run.open(run).split().images("test")
    path = run.with_name("data") / lost.name
    path.unlink()
    with pytest.raises(DataError, match=re.escape(str(path))):
        export(ExportJob(run=run, out=run.with_name("bundle")))
    assert not run.with_name("bundle").exists()


@pytest.mark.slow
def test_a_mobilenet_is_the_same_to_the_last_byte_without_its_test_part(tiny_run, tiny_data, tiny_bundle, tmp_path):
    shutil.copytree(tiny_data, tmp_path / "data")
    for image in Run.open(tiny_run).split().images("test"):
        (tmp_path / "data" / image.name).unlink()
    without = export(ExportJob(run=tiny_run, out=tmp_path / "bundle", data=tmp_path / "data"))
    assert without.manifest.golden_part == "train"
    assert weights(without) == weights(Bundle.open(tiny_bundle))
