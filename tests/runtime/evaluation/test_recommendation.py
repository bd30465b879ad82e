"""The bench's answer, kept for this bundle on this machine, and what makes it void."""

import shutil
from dataclasses import replace

import pytest

from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.bundle.manifest import MANIFEST, write_manifest
from overfly.runtime.classifier import Classifier
from overfly.runtime.evaluation.recommendation import (
    Deployment,
    SavedRecommendation,
    delete_recommendation,
    load_recommendation,
    save_recommendation,
)
from overfly.runtime.files.hashing import sha256_file
from overfly.runtime.inference.devices import full_name
from overfly.runtime.machine import host_name


@pytest.fixture
def bundle(tiny_bundle, tmp_path, monkeypatch):
    """A copy of the small bundle, and a cache folder of its own."""
    monkeypatch.setenv("OVERFLY_CACHE", str(tmp_path / "cache"))
    return Bundle.open(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


@pytest.fixture
def answer(bundle):
    """What a bench on this machine might have found: fp16 for one image, fp32 for many."""
    name = full_name("CPU")
    return SavedRecommendation(
        manifest_sha256=sha256_file(bundle.path / MANIFEST),
        host=host_name(),
        cpu=name,
        latency=Deployment("fp16", "CPU", name),
        throughput=Deployment("fp32", "CPU", name),
        valid=True,
        timestamp="2026-01-02T03:04:05+00:00",
    )


def chosen(bundle, **options):
    with Classifier.from_bundle(bundle.path, **options) as classifier:
        return classifier.runner.variant, classifier.recommendation is not None


def test_it_comes_back_and_can_be_forgotten(bundle, answer):
    assert load_recommendation(bundle) is None
    save_recommendation(answer)
    assert load_recommendation(bundle) == answer
    delete_recommendation(answer.manifest_sha256)
    assert load_recommendation(bundle) is None


def test_auto_follows_it_for_the_hint_as_far_as_it_agrees_with_what_is_named(bundle, answer):
    assert chosen(bundle, device="CPU") == ("int8", False)
    save_recommendation(answer)
    assert chosen(bundle) == ("fp16", True)
    assert chosen(bundle, hint="throughput") == ("fp32", True)
    assert chosen(bundle, device="cpu") == ("fp16", True)
    assert chosen(bundle, variant="fp16") == ("fp16", True)
    # Another variant was named, or everything, or the cache is to be left alone.
    assert chosen(bundle, variant="int8") == ("int8", False)
    assert chosen(bundle, variant="fp32", device="CPU") == ("fp32", False)
    assert chosen(bundle, cache=False) == ("int8", False)


@pytest.mark.parametrize(
    "changes",
    [
        {"host": "another"},
        {"cpu": "another"},
        {"latency": Deployment("fp16", "NPU", "gone")},
        {"throughput": Deployment("fp16", "CPU", "another processor")},
        {"throughput": Deployment("int4", "CPU", full_name("CPU"))},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_another_machine_or_a_device_that_is_gone_makes_it_void(bundle, answer, changes):
    save_recommendation(replace(answer, **changes))
    assert load_recommendation(bundle) is None


def test_a_bundle_that_was_exported_again_makes_it_void(bundle, answer):
    save_recommendation(answer)
    provenance = replace(bundle.manifest.provenance, seed=bundle.manifest.provenance.seed + 1)
    write_manifest(bundle.path, replace(bundle.manifest, provenance=provenance))
    assert load_recommendation(Bundle.open(bundle.path)) is None


def test_a_damaged_one_is_none(bundle, answer, tmp_path):
    save_recommendation(answer)
    (path,) = (tmp_path / "cache" / "recommendations").iterdir()
    for damage in (b"", b"{", path.read_bytes().replace(b"/1", b"/2"), path.read_bytes().replace(b"valid", b"other")):
        path.write_bytes(damage)
        assert load_recommendation(bundle) is None


def test_a_cache_that_can_not_be_written_stops_nothing(bundle, answer, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("OVERFLY_CACHE", str(tmp_path / "file"))
    save_recommendation(answer)
    delete_recommendation(answer.manifest_sha256)
    assert load_recommendation(bundle) is None
