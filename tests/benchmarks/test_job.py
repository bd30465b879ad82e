"""A row that can't be loaded, the files of a report, and which recommendations are saved for ``predict``."""

import importlib.util
from dataclasses import replace
from types import SimpleNamespace

import pytest
from PIL import Image

from overfly.benchmarks.job import BenchJob, bench, decode_for_each, keep_recommendations, write_report
from overfly.benchmarks.models.bundles import BundleToMeasure
from overfly.benchmarks.results.store import read_report
from overfly.runtime.documents import read_document
from overfly.runtime.errors import MissingExtraError
from overfly.runtime.evaluation.recommendation import RECOMMENDATION_SCHEMA, Deployment, SavedRecommendation
from overfly.runtime.images.reading import ImageSpec
from overfly.runtime.reporter import SILENT, Reporter
from overfly.training.data.dataset import LabeledImage


@pytest.fixture
def all_kept(tmp_path, monkeypatch):
    """A function that returns what is kept, by the hash of the manifest."""
    monkeypatch.setenv("OVERFLY_CACHE", str(tmp_path))

    def call():
        paths = list(tmp_path.glob("recommendations/*.json"))
        found = [read_document(path, SavedRecommendation, schema=RECOMMENDATION_SCHEMA) for path in paths]
        return {of.manifest_sha256: of for of in found}

    return call


@pytest.fixture
def kept(all_kept):
    """A function that returns the only one that is kept, or None."""

    def call():
        found = list(all_kept().values())
        assert len(found) <= 1
        return found[0] if found else None

    return call


def test_a_package_that_the_run_needs_is_named_with_its_extra(monkeypatch, tmp_path):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        "overfly.runtime.extras.find_spec", lambda name: None if name == "safetensors" else find_spec(name)
    )
    with pytest.raises(MissingExtraError) as caught:
        bench(BenchJob(bundles=(tmp_path,), data=tmp_path, out=tmp_path / "report", runs=(tmp_path,)))
    assert all(part in str(caught.value) for part in ("'safetensors'", "overfly[train]"))


def test_a_full_bench_is_kept_valid_or_not(report, kept):
    keep_recommendations(report)
    found = kept()
    assert found.latency == found.throughput == Deployment("int8", "CPU", "Some CPU")
    assert (found.manifest_sha256, found.host, found.cpu) == (report.bundles[0].manifest_sha256, "box", "Some CPU")
    assert found.valid
    keep_recommendations(replace(report, validity=replace(report.validity, valid=False)))
    assert not kept().valid


def test_each_of_several_bundles_gets_the_best_of_its_own_rows(several, all_kept):
    # Of all rows, int8 of the large bundle is the best; int8 of the small one loses too much against its own PyTorch.
    keep_recommendations(several)
    found = all_kept()
    assert set(found) == {bundle.manifest_sha256 for bundle in several.bundles}
    of_small, of_large = (found[bundle.manifest_sha256] for bundle in several.bundles)
    assert of_small.latency == of_small.throughput == Deployment("fp32", "CPU", "Some CPU")
    assert of_large.latency == of_large.throughput == Deployment("int8", "CPU", "Some CPU")


def test_with_some_of_the_images_nothing_is_saved(report, kept):
    keep_recommendations(replace(report, images=replace(report.images, n_available=61)))
    assert kept() is None


def test_a_quick_bench_changes_nothing_and_a_full_one_without_a_recommendation_deletes_the_saved_one(report, kept):
    keep_recommendations(replace(report, quick=True))
    assert kept() is None
    keep_recommendations(report)
    failed = [replace(row, status="no memory") if row.is_deployable else row for row in report.rows]
    nothing = replace(report, rows=tuple(failed))
    keep_recommendations(replace(nothing, quick=True))
    assert kept() is not None
    keep_recommendations(nothing)
    assert kept() is None


def test_the_machine_stays_awake_while_models_are_loaded_and_measured(tmp_path, monkeypatch, kept_awake):
    awake, when_awake = kept_awake("overfly.benchmarks.job"), {}

    class Watcher(Reporter):
        def progress(self, stage, *_):
            when_awake[stage] = bool(awake)

    def measure_nothing(*_arguments):
        when_awake["measuring"] = bool(awake)
        raise KeyboardInterrupt

    for name in ("beach", "forest"):
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8), len(name)).save(tmp_path / "data" / name / "1.png")
    provenance = SimpleNamespace(test_sha256=(), train_sha256=(), val_sha256=())
    image = ImageSpec(8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    manifest = SimpleNamespace(classes=("beach", "forest"), model="tiny", provenance=provenance, image=image)
    bundle = SimpleNamespace(manifest=manifest, manifest_sha256=lambda: "0" * 64, calibration_warning=lambda: None)
    monkeypatch.setattr("overfly.benchmarks.job.open_bundles", lambda *_: [BundleToMeasure(bundle, "bundle", "", None)])
    monkeypatch.setattr("overfly.benchmarks.job.choose_candidates", lambda *_arguments, **_options: [])
    monkeypatch.setattr("overfly.benchmarks.job.measure_all", measure_nothing)
    job = BenchJob(bundles=(tmp_path / "bundle",), data=tmp_path / "data", out=tmp_path / "report")
    with pytest.raises(KeyboardInterrupt):
        bench(job, reporter=Watcher())
    assert all(when_awake[stage] for stage in ("hashing", "decoding", "load time and memory", "loading", "measuring"))
    assert not awake


def test_a_file_whose_name_is_not_utf_8_is_shown_by_its_number(report, tmp_path):
    # Image 7 is one of those with that the page lists.
    names = (*report.images.names[:7], "forest/\udcff.jpg", *report.images.names[8:])
    odd = replace(report, images=replace(report.images, names=names))
    write_report(tmp_path, odd)
    assert {path.name for path in tmp_path.iterdir()} == {"report.json", "report.md", "report.html"}
    assert read_report(tmp_path) == odd
    for name in ("report.md", "report.html"):
        assert "udcff.jpg" in (tmp_path / name).read_text(encoding="utf-8"), name


def test_bundles_that_take_the_same_pixels_share_them(tmp_path):
    Image.new("RGB", (40, 40), "green").save(tmp_path / "1.png")
    # The normalization is part of the model.
    specs = [
        ImageSpec(8, (0.5,) * 3, (1.0,) * 3),
        ImageSpec(16, (0.5,) * 3, (1.0,) * 3),
        ImageSpec(8, (0.0,) * 3, (2.0,) * 3),
    ]
    bundles = [
        BundleToMeasure(SimpleNamespace(manifest=SimpleNamespace(image=spec)), str(i), str(i), None)
        for i, spec in enumerate(specs)
    ]
    job = BenchJob(bundles=(tmp_path,) * 3, data=tmp_path, out=tmp_path / "report")
    images = decode_for_each(job, bundles, [LabeledImage("1.png", 0, "0")], SILENT)
    assert [source.pixels.shape for source in images] == [(1, 8, 8, 3), (1, 16, 16, 3), (1, 8, 8, 3)]
    assert images[0] is images[2]
    assert [source.load(0).shape for source in images] == [(8, 8, 3), (16, 16, 3), (8, 8, 3)]
