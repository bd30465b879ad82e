"""The comparison with the loop that people write: the same images, and a short run of both."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from overfly.benchmarks.development import training_speed
from overfly.benchmarks.development.training_speed import (
    PlainLoop,
    compare_precisions,
    compare_time_to_accuracy,
    main,
)
from overfly.benchmarks.development.training_steps import SpeedTest, draw_images
from overfly.runtime.images.reading import ImageReader
from overfly.training.data.dataset import decode, scan
from overfly.training.recipe import PAPER, Recipe, override


@pytest.fixture
def plan(tiny_data):
    """Turns of two steps on tiny images."""
    recipe = Recipe(model="shufflenet_v2_x1_0", image_size=32, batch_size=4, epochs=2)
    return SpeedTest(tiny_data, "none", recipe, n_rounds=1, n_steps=2, paper=override(PAPER, image_size=32))


@pytest.mark.slow
def test_the_plain_loop_trains_on_batches_of_the_recipe(plan):
    plain = PlainLoop(plan)
    batches = list(plain._batches(3))
    assert [tuple(images.shape) for images, _ in batches] == [(4, 3, 32, 32)] * 3
    assert {images.dtype for images, _ in batches} == {torch.float32}
    before = [p.clone() for p in plain._model.parameters()]
    assert plain.images_per_second() > 0
    assert not all(torch.equal(p, q) for p, q in zip(before, plain._model.parameters(), strict=True))


def test_without_random_changes_the_plain_loop_sees_our_images(plan):
    recipe = override(plan.recipe, dihedral=False, rotation=0.0, min_crop=1.0, jitter=0.0)
    images = PlainLoop(replace(plan, recipe=recipe))._images
    index = len(images) // 2
    names = [str(Path(path).relative_to(plan.data).as_posix()) for path, _ in images.samples]
    ours = next(image for image in scan(plan.data).images if image.name == names[index])
    pixels = torch.from_numpy(decode(plan.data, [ours], ImageReader(32))[0]).permute(2, 0, 1) / 255
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (recipe.image.mean, recipe.image.std))
    assert torch.allclose(images[index][0], (pixels - mean) / std, atol=0.1)


def test_a_turn_has_as_many_images_as_its_steps_take(plan):
    images, labels = draw_images(plan, scan(plan.data))
    assert images.shape == (8, 32, 32, 3)
    assert labels.shape == (8,)


@pytest.mark.parametrize(("in_bf16", "is_met"), [(20.0, True), (40.0, False)])
def test_fp32_is_compared_with_bf16(plan, monkeypatch, in_bf16, is_met):
    speeds = {"fp32": [30.0, 30.0], "bf16": [in_bf16, in_bf16]}
    monkeypatch.setattr(training_speed, "images_per_second", lambda trainer, *_: speeds[trainer.precision].pop())
    comparison = compare_precisions(replace(plan, n_rounds=2))
    assert (comparison.name, comparison.is_met) == ("fp32, of bf16", is_met)
    assert comparison.ratio == pytest.approx(30.0 / in_bf16)


def test_each_recipe_trains_until_it_is_there_and_its_seconds_are_counted(plan, monkeypatch):
    seconds = {"adamw": [5.0, 7.0], "adam": [40.0, 50.0, 60.0]}  # the default recipe's epochs, the paper's
    right = {"adamw": [0.5, 0.95], "adam": [0.1, 0.5, 0.92]}
    trained = []

    def race(_plan, recipe, _split, accuracy):
        assert recipe in {plan.recipe, plan.paper}
        for spent, found in zip(seconds[recipe.optimizer], right[recipe.optimizer], strict=True):
            trained.append(recipe.optimizer)
            yield spent
            if found >= accuracy:
                return

    monkeypatch.setattr(training_speed, "_race", race)
    comparison = compare_time_to_accuracy(plan, 0.9143)
    assert (comparison.ours, comparison.theirs) == ((12.0,), (150.0,))
    # In turns, so that a machine that slows down affects both alike.
    assert trained == ["adamw", "adam", "adamw", "adam", "adam"]
    assert comparison.is_met


def test_epochs_that_do_not_reach_the_accuracy_are_an_error(plan, monkeypatch):
    ours, paper = (override(recipe, batch_size=24, epochs=1) for recipe in (plan.recipe, plan.paper))
    monkeypatch.setattr(
        training_speed, "predict_logits", lambda _, images: np.eye(len(images), 2)[np.zeros(len(images), int)] - 1
    )
    with pytest.raises(ValueError, match=r"100\.00%"):
        compare_time_to_accuracy(replace(plan, recipe=ours, paper=paper), 1.0)


@pytest.mark.slow
def test_every_comparison_runs(tiny_data, capsys):
    arguments = ["--weights", "none", "--image-size", "32", "--rounds", "1", "--steps", "2", "--json"]
    main([str(tiny_data), *arguments])
    printed = json.loads(capsys.readouterr().out)
    assert [c["unit"] for c in printed] == ["images/s"] * 4 + ["ms"]
    for comparison in printed:
        assert comparison["ratio"] == pytest.approx(comparison["ours"][0] / comparison["theirs"][0])
        assert comparison["ratio"] > 0


@pytest.mark.parametrize(
    ("option", "name"), [("--rounds", "--rounds"), ("--steps", "--steps"), ("--image-size", "image_size")]
)
def test_numbers_that_can_not_be_are_wrong_usage(tiny_data, capsys, option, name):
    with pytest.raises(SystemExit) as stopped:
        main([str(tiny_data), option, "0"])
    assert stopped.value.code == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert name in message
    assert "0" in message
