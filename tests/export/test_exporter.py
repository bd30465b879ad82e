"""From a run to a bundle: its files, calibration, provenance, and what stops an export."""

import hashlib
import json
import re
import shutil
import sys

import numpy as np
import pytest

from overfly.export.exporter import ExportJob, export
from overfly.export.image_selection import N_CALIBRATION
from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.bundle.variants import VARIANTS
from overfly.runtime.errors import DataError, OutputError, RunError
from overfly.runtime.evaluation.golden_check import check_golden
from overfly.runtime.images.reading import ImageReader
from overfly.runtime.inference.compile import compile_variant
from overfly.training.data.dataset import decode
from overfly.training.loop.trainer import predict_logits
from overfly.training.run import Run


@pytest.fixture(scope="module")
def bundle(tiny_bundle):
    return Bundle.open(tiny_bundle)


def test_the_folder_holds_what_the_manifest_lists_and_nothing_else(bundle):
    bundle.verify()
    variants = [f"{name}.{end}" for name in VARIANTS for end in ("bin", "xml")]
    expected = {*variants, "golden.npz", "labels.txt", "manifest.json", "model.onnx"}
    assert {path.name for path in bundle.path.iterdir()} == expected


def test_golden_answers_are_those_of_pytorch_on_real_test_images(bundle, tiny_run, tiny_data):
    run, golden = Run.open(tiny_run), bundle.golden()
    np.testing.assert_allclose(golden.logits, predict_logits(run.load_model(), golden.images), atol=1e-5)
    test_part = decode(tiny_data, run.split().images("test"), ImageReader(64))
    known = {image.tobytes() for image in test_part}
    assert len(golden.images) == 24
    assert all(image.tobytes() in known for image in golden.images)


def test_provenance_leads_back_to_the_run_and_its_split(bundle, tiny_run):
    provenance = bundle.manifest.provenance
    assert provenance.run_sha256 == hashlib.sha256((tiny_run / "run.json").read_bytes()).hexdigest()
    assert provenance.split_sha256 == hashlib.sha256((tiny_run / "split.json").read_bytes()).hexdigest()
    assert provenance.seed == Run.open(tiny_run).record.seed == Run.open(tiny_run).split().seed
    split = Run.open(tiny_run).split()
    assert list(provenance.train_sha256) == [image.sha256[:16] for image in split.images("train")]
    assert (len(provenance.train_sha256), provenance.val_sha256) == (72, ())
    assert sorted(provenance.test_sha256) == sorted(s.sha256 for s in Run.open(tiny_run).split().images("test"))
    assert bundle.manifest.classes == tuple((bundle.path / "labels.txt").read_text().splitlines())


def test_calibration_used_training_images_only(bundle, tiny_run):
    split = Run.open(tiny_run).split()
    calibration = bundle.manifest.variants["int8"].calibration
    train = [image.sha256 for image in split.images("train")]
    assert len(calibration.sha256) == len(set(calibration.sha256)) == min(N_CALIBRATION, len(train))
    assert set(calibration.sha256) <= set(train)
    assert not set(calibration.sha256) & {image.sha256 for image in split.images("test")}
    fp32 = bundle.manifest.variants["fp32"]
    assert (fp32.calibration, fp32.float_layers, fp32.steering) == (None, None, None)


def test_no_file_names_a_place_on_the_machine_that_made_it(bundle, tiny_run):
    for name in bundle.manifest.files:
        content = bundle.read(name)
        for place in (str(tiny_run.parent), sys.prefix, "site-packages"):
            assert place.encode() not in content, (name, place)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_cpu_gives_the_signed_off_answers(bundle, variant):
    runner = compile_variant(bundle, variant=variant, device="CPU")
    finding = check_golden(runner, bundle.golden(), bundle.variant(variant).parity)
    assert finding.problems == ()
    assert finding.parity.n_images == 24


def test_a_test_image_that_changed_stops_the_export_and_writes_nothing(tiny_run, tiny_data, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(tiny_data, data)
    victim = data / Run.open(tiny_run).split().images("test")[0].name
    victim.write_bytes(victim.read_bytes() + b"x")
    with pytest.raises(DataError, match=victim.name):
        export(ExportJob(run=tiny_run, out=tmp_path / "b", data=data))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_a_missing_data_folder_is_named(tiny_run, tmp_path):
    with pytest.raises(DataError, match=f"{re.escape(str(tmp_path / 'nowhere'))}.*--data"):
        export(ExportJob(run=tiny_run, out=tmp_path / "b", data=tmp_path / "nowhere"))


def test_an_existing_bundle_is_kept(tiny_run, tiny_bundle):
    before = (tiny_bundle / "manifest.json").read_bytes()
    with pytest.raises(OutputError, match=tiny_bundle.name):
        export(ExportJob(run=tiny_run, out=tiny_bundle))
    assert (tiny_bundle / "manifest.json").read_bytes() == before


def test_no_run_no_bundle(tmp_path):
    with pytest.raises(RunError, match=re.escape(str(tmp_path / "nothing"))):
        export(ExportJob(run=tmp_path / "nothing", out=tmp_path / "b"))
    assert list(tmp_path.iterdir()) == []


def test_a_run_whose_labels_clients_could_not_tell_apart_is_rejected(tiny_run, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    content = json.loads((run / "run.json").read_text(encoding="utf-8"))
    content["classes"][:2] = ["golf course", "golf_course"]
    (run / "run.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DataError, match="golf_course"):
        export(ExportJob(run=run, out=tmp_path / "bundle"))
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("as_zip", [False, True])
def test_the_machine_stays_awake_during_an_export(tiny_run, tmp_path, monkeypatch, kept_awake, as_zip):
    awake = kept_awake("overfly.export.exporter")

    class Interrupted:
        def __init__(self, *_):
            assert awake

        def write(self):
            raise KeyboardInterrupt

    monkeypatch.setattr("overfly.export.exporter._Export", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        export(ExportJob(run=tiny_run, out=tmp_path / "bundle", as_zip=as_zip))
    assert not awake
