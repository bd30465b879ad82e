"""Real ImageNet weights give features that tell aerial scenes apart; random weights do not."""

import os

import numpy as np
import pytest
import torch

from overfly.training.data.dataset import decode, scan
from overfly.training.data.split import sample_evenly
from overfly.training.loop.trainer import predict_logits
from overfly.training.models.build import PreprocessedModel, build_model
from overfly.training.models.registry import MODELS
from overfly.training.models.weights import load_pretrained
from overfly.training.recipe import Recipe

pytestmark = [pytest.mark.real, pytest.mark.slow]

N_PER_CLASS = 16


@pytest.fixture(scope="module")
def scenes(real_data):
    """A few scenes of each class, and their classes."""
    data = scan(real_data)
    images = sample_evenly(data.images, N_PER_CLASS * len(data.classes), seed=0)
    return decode(real_data, images, Recipe().image.reader()), np.array([image.label for image in images])


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("mobilenet_v2", "OVERFLY_WEIGHTS"),
        pytest.param("resnet18", "OVERFLY_RESNET18_WEIGHTS", marks=pytest.mark.resnet18),
    ],
)
def test_a_linear_classifier_on_the_features(scenes, name, variable):
    assert right_share(name, os.environ[variable], *scenes) >= 0.7
    assert right_share(name, "none", *scenes) <= 0.5


def right_share(name, weights, images, labels):
    """Return the accuracy on half of the images of a linear classifier fitted to the features of the others."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_model(name, labels.max() + 1)
    load_pretrained(model, name, weights)
    model.set_submodule(MODELS[name], torch.nn.Identity())
    features = predict_logits(PreprocessedModel(model, Recipe().image), images).astype(np.float64)
    # As many images of each class in both halves.
    order = np.argsort(labels, kind="stable")
    fitted, judged = order[::2], order[1::2]
    features = (features - features[fitted].mean(axis=0)) / (features[fitted].std(axis=0) + 1e-6)
    features = np.column_stack([features, np.ones(len(features))])
    known = features[fitted]
    # In the dual form, because there are more features than images. The penalty is one per feature.
    gram = known @ known.T + known.shape[1] * np.eye(len(known))
    coefficients = known.T @ np.linalg.solve(gram, np.eye(labels.max() + 1)[labels[fitted]])
    return np.mean((features[judged] @ coefficients).argmax(axis=1) == labels[judged])
