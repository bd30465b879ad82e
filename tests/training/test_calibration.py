"""The temperature: known ones are found, few images do not mislead it, and it is part of a run and its bundle."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from overfly.export.exporter import ExportJob, export
from overfly.runtime.images.reading import ImageSpec
from overfly.training.calibration import calibrate, fit_temperature
from overfly.training.job import train
from overfly.training.loop.trainer import predict_logits
from overfly.training.models.build import PreprocessedModel, build_model
from overfly.training.recipe import override


def negative_log_likelihood(logits, labels, share):
    logits = logits - logits.max(axis=1, keepdims=True)
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return -((1 - share) * logs[np.arange(len(labels)), labels] + share * logs.mean(axis=1)).mean()


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(1, 30), st.floats(0.2, 5))
def test_it_minimizes_the_likelihood_and_follows_the_scale_of_the_logits(seed, n_classes, n_images, scale):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n_images, n_classes)).astype(np.float32)
    labels = rng.integers(0, n_classes, n_images)
    found = fit_temperature(logits, labels)
    best, *others = (
        negative_log_likelihood(logits / temperature, labels, 0.5 / (n_images + 1))
        for temperature in (found, found * 1.05, found / 1.05)
    )
    if 0.3 < found < 3:
        assert best < min(others)
        assert fit_temperature(logits * scale, labels) == pytest.approx(found * scale, rel=1e-4)


def test_the_temperature_of_a_model_that_is_too_sure_is_found():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, 5)).astype(np.float32)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (chances.cumsum(axis=1) < rng.random((len(logits), 1))).sum(axis=1)
    assert fit_temperature(logits * 3, labels) == pytest.approx(3, rel=0.03)


@pytest.mark.parametrize("n_images", [5, 100])
def test_images_that_are_all_right_do_not_make_a_model_certain(n_images):
    labels = np.arange(n_images) % 3
    logits = np.eye(3, dtype=np.float32)[labels]
    chances = np.exp(logits[0] / fit_temperature(logits, labels))
    share = 0.5 / (n_images + 1)
    assert chances[0] / chances.sum() == pytest.approx(1 - share + share / 3)


def test_a_calibrated_model_has_the_same_classes_and_logits_divided_by_the_temperature():
    torch.manual_seed(0)
    spec = ImageSpec(32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    model = PreprocessedModel(build_model("shufflenet_v2_x1_0", 3), spec)
    images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    before = predict_logits(model, images)
    scaling = calibrate(model, "shufflenet_v2_x1_0", images, np.arange(12) % 3)
    after = predict_logits(model, images)
    assert (scaling.part, scaling.n_images) == ("val", 12)
    assert after == pytest.approx(before / scaling.temperature, rel=1e-4, abs=1e-6)
    assert (after.argmax(axis=1) == before.argmax(axis=1)).all()


@pytest.mark.slow
def test_a_run_with_a_validation_part_and_its_bundle_say_how_they_were_calibrated(make_job, recipe, tmp_path):
    run = train(make_job(recipe=override(recipe, epochs=1, val_fraction=0.2)))
    scaling = run.record.temperature_scaling
    assert (scaling.part, scaling.n_images) == ("val", len(run.split().images("val")))
    bundle = export(ExportJob(run=run.path, out=tmp_path / "bundle", variants=("fp32",)))
    assert bundle.manifest.temperature_scaling == scaling


def test_a_run_without_a_validation_part_says_that_it_is_not_calibrated(make_job, recipe, listener):
    heard = listener()
    run = train(make_job(recipe=override(recipe, epochs=1, val_fraction=0.0)), reporter=heard)
    assert run.record.temperature_scaling is None
    assert any("not calibrated" in note and "--val-fraction" in note for note in heard.notes)
