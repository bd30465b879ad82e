"""The published figures agree with each other: a figure that was typed wrongly does not."""

import pytest

from overfly.benchmarks.paper.published import PUBLISHED_ROWS
from overfly.training.models.registry import MODELS

# The paper tests on 20% of UC Merced, 20 images of each of its 21 classes.
N_CLASSES = 21
N_IMAGES = 420


def test_there_is_a_row_for_each_model_and_one_without_pretraining():
    names = [row.name for row in PUBLISHED_ROWS]
    assert names == ["mobilenet_v2-scratch", "mobilenet_v2", "resnet18", "shufflenet_v2_x1_0", "vgg16", "alexnet"]
    assert [row.name for row in PUBLISHED_ROWS if not row.pretrained] == ["mobilenet_v2-scratch"]
    for row in PUBLISHED_ROWS:
        assert row.model in MODELS
        assert row.name == row.model + ("" if row.pretrained else "-scratch")


@pytest.mark.parametrize("row", PUBLISHED_ROWS, ids=lambda row: row.name)
def test_an_accuracy_is_a_whole_number_of_test_images(row):
    n_right = round(row.accuracy / 100 * N_IMAGES)
    assert round(100 * n_right / N_IMAGES, 2) == row.accuracy


@pytest.mark.parametrize("row", PUBLISHED_ROWS, ids=lambda row: row.name)
def test_kappa_follows_from_the_accuracy_because_the_classes_are_equally_large(row):
    chance = 100 / N_CLASSES
    n_right = round(row.accuracy / 100 * N_IMAGES)
    kappa = 100 * (100 * n_right / N_IMAGES - chance) / (100 - chance)
    assert row.kappa == pytest.approx(kappa, abs=0.005)


def test_the_same_model_has_the_same_size():
    scratch, pretrained = (row for row in PUBLISHED_ROWS if row.model == "mobilenet_v2")
    assert (scratch.params, scratch.flops) == (pretrained.params, pretrained.flops) == ("2.2508M", "426.0928M")
