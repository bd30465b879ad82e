"""What the benchmarks of training share: the images and the trainer to measure, and the images per second."""

import argparse
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from overfly.benchmarks.development.harness import add_data_options, make_parser, positive
from overfly.runtime.images.reading import ImageBatch
from overfly.training.data.dataset import Dataset, decode
from overfly.training.loop.trainer import Trainer
from overfly.training.memory import keep_freed_memory
from overfly.training.models.build import PreprocessedModel, build_model
from overfly.training.models.weights import load_pretrained
from overfly.training.recipe import RECIPES, Recipe, override


@dataclass(frozen=True, slots=True)
class SpeedTest:
    """What to measure, and for how long.

    Attributes
    ----------
    data
        The data folder.
    weights
        ``imagenet``, ``none`` or a file.
    recipe
        overfly's recipe; the plain loop has the same model, batch size, image size and augmentation.
    n_rounds
        How often each side is measured.
    n_steps
        Training steps in one measurement.
    paper
        The paper's recipe, for the race.
    """

    data: Path
    weights: str
    recipe: Recipe
    n_rounds: int
    n_steps: int
    paper: Recipe


def make_training_parser(module: str, *, n_steps: int) -> argparse.ArgumentParser:
    """Return a parser with the options of every benchmark of training."""
    parser = make_parser(module, n_rounds=7)
    add_data_options(parser)
    parser.add_argument("--image-size", type=int, help="in pixels; default: that of the recipe")
    parser.add_argument(
        "--steps", type=positive, default=n_steps, help="training steps per measurement; default: %(default)s"
    )
    return parser


def read_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> SpeedTest:
    """Return what to measure; the parser ends the program if an option is not valid."""
    try:
        recipe, paper = (override(RECIPES[name], image_size=options.image_size) for name in ("default", "paper"))
    except ValueError as error:
        parser.error(str(error))
    return SpeedTest(options.data, options.weights, recipe, options.rounds, options.steps, paper)


def draw_images(test: SpeedTest, dataset: Dataset) -> tuple[ImageBatch, npt.NDArray[np.int64]]:
    """Return the images and labels of one measurement, drawn at random; with repetition if there are too few."""
    n_available, n_images = len(dataset.images), test.n_steps * test.recipe.batch_size
    chosen = np.random.default_rng(0).choice(n_available, n_images, replace=n_available < n_images)
    drawn = [dataset.images[i] for i in chosen]
    images = decode(test.data, drawn, test.recipe.image.reader())
    return images, np.array([image.label for image in drawn], dtype=np.int64)


def make_model(test: SpeedTest, n_classes: int) -> PreprocessedModel:
    """Return the pretrained model."""
    torch.manual_seed(0)
    model: nn.Module = build_model(test.recipe.model, n_classes)
    load_pretrained(model, test.recipe.model, test.weights)
    return PreprocessedModel(model, test.recipe.image)


def make_trainer(test: SpeedTest, recipe: Recipe, n_images: int, *, n_classes: int) -> Trainer:
    """Return a trainer on the CPU."""
    model = make_model(test, n_classes)
    return Trainer(model, recipe, n_images=n_images, seed=0, device=torch.device("cpu"))


def images_per_second(
    trainer: Trainer, images: ImageBatch, labels: npt.NDArray[np.int64], *, keep_memory: bool = True
) -> float:
    """Train on each image once and return the images per second; a step before it allocates the memory."""
    first = slice(trainer.recipe.batch_size)
    with keep_freed_memory() if keep_memory else nullcontext():
        trainer.run_epoch(images[first], labels[first], lambda *_: None)
        return len(images) / trainer.run_epoch(images, labels, lambda *_: None)[1]
