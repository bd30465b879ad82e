"""How fast overfly trains: measured in turns with a plain PyTorch training loop, on one machine.

    python -m overfly.benchmarks.development.training_speed DATA --weights FILE

Each comparison is a ratio of training images per second, measured over several rounds. `PlainLoop` (ImageFolder,
DataLoader with 2 workers, fp32) is compared with

- the same work in overfly: the model, batch size, image size, augmentation and arithmetic of the plain loop;
- the default recipe, which keeps the first layers as pretrained;
- the default recipe in its last epochs, where SAM computes the gradients twice per step.

Two more results: the same work with `keep_freed_memory` against without it, and the time to prepare a batch
against the time of a step.
``--precisions`` adds the default recipe in fp32, its precision on a CPU, against bf16.
``--until 0.9143`` (the paper's accuracy) adds a race: the default and the paper's recipe train one epoch in turns until
each reaches this accuracy on the test part; the training seconds are compared. This took 15 minutes on 2 cores.

Close all other programs first. On a shared machine, only the ratios are meaningful.
"""

import math
import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import zip_longest

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from overfly.benchmarks.development.ab_test import ABResult, measure_alternately
from overfly.benchmarks.development.harness import show
from overfly.benchmarks.development.training_steps import (
    SpeedTest,
    draw_images,
    images_per_second,
    make_model,
    make_trainer,
    make_training_parser,
    read_options,
)
from overfly.runtime.images.reading import ImageBatch
from overfly.training.data.dataset import decode, scan
from overfly.training.data.split import Split, make_split
from overfly.training.loop.shares import prepare
from overfly.training.loop.trainer import Trainer, predict_logits
from overfly.training.memory import keep_freed_memory
from overfly.training.models.torchvision_import import torchvision_models
from overfly.training.recipe import Recipe, override

# Batches that the plain loop's workers prefetch. They are loaded before the clock starts.
_N_WORKERS = 2
_N_PREFETCHED = 2 * _N_WORKERS

# How many times as fast the same work must be, on a processor with and without bf16 instructions.
_AT_LEAST_WITH_BF16 = 2.2
_AT_LEAST_WITHOUT = 1.1
_MOST_PREPARATION = 0.1
_MOST_TIME_TO_ACCURACY = 0.1


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table or, with ``--json``, an array."""
    parser = make_training_parser("training_speed", n_steps=12)
    parser.add_argument("--precisions", action="store_true", help="also compare bf16 and fp32")
    parser.add_argument("--until", type=float, metavar="ACCURACY", help="also compare the time to this test accuracy")
    options = parser.parse_args(arguments)
    test = read_options(parser, options)
    results = compare_steps(test)
    if options.precisions:
        results.append(compare_precisions(test))
    if options.until is not None:
        results.append(compare_time_to_accuracy(test, options.until))
    show(results, as_json=options.json)


def compare_steps(test: SpeedTest) -> list[ABResult]:
    """Compare training images per second with the plain loop, and batch preparation with a whole step."""
    dataset = scan(test.data)
    images, labels = draw_images(test, dataset)
    same_work = override(test.recipe, batch_norm="train", frozen_fraction=0.0, ema_decay=0.0, sam_rho=0.0)
    plain = PlainLoop(test)
    has_bf16 = any(torch.cpu.get_capabilities().get(name, False) for name in ("avx512_bf16", "amx_bf16"))
    limit = _AT_LEAST_WITH_BF16 if has_bf16 else _AT_LEAST_WITHOUT
    at_first, at_last = override(test.recipe, sam_rho=0.0), override(test.recipe, sam_fraction=1.0)
    results, speeds = [], []
    # The recipe with the shortest step comes last: there, preparing a batch has the largest share.
    for name, recipe, at_least in (
        ("the same work", same_work, limit),
        # It computes the gradients twice per step, so it only has to be faster than the loop.
        ("the default recipe, last epochs", at_last, _AT_LEAST_WITHOUT),
        ("the default recipe", at_first, limit),
    ):
        trainer = make_trainer(test, recipe, len(labels), n_classes=len(dataset.classes))
        speeds.append(partial(images_per_second, trainer, images, labels))
        # The first round is a warm-up.
        ours, theirs = measure_alternately(test.n_rounds + 1, speeds[-1], plain.images_per_second)
        results.append(ABResult(name, "images/s", ours[1:], theirs[1:], at_least=at_least))
    kept, released = measure_alternately(test.n_rounds, speeds[0], partial(speeds[0], keep_memory=False))
    results.append(ABResult("with keep_freed_memory, of without", "images/s", kept, released, at_least=1.0))
    step, preparation = measure_alternately(
        test.n_rounds,
        lambda: 1e3 * test.recipe.batch_size / speeds[-1](),
        lambda: _preparation_ms(trainer, images),
    )
    results.append(ABResult("preparing a batch, of a step", "ms", preparation, step, at_most=_MOST_PREPARATION))
    return results


def compare_precisions(test: SpeedTest) -> ABResult:
    """Compare the recipe in fp32, which ``auto`` chooses on a CPU, with the same in bf16."""
    dataset = scan(test.data)
    images, labels = draw_images(test, dataset)
    recipes = [override(test.recipe, precision=precision) for precision in ("fp32", "bf16")]
    trainers = [make_trainer(test, recipe, len(labels), n_classes=len(dataset.classes)) for recipe in recipes]
    ours, theirs = measure_alternately(
        test.n_rounds, *(partial(images_per_second, t, images, labels) for t in trainers)
    )
    return ABResult("fp32, of bf16", "images/s", ours, theirs, at_least=1.0)


class PlainLoop:
    """The usual training loop with torchvision: ImageFolder, DataLoader with 2 workers, fp32.

    Parameters
    ----------
    test
        Gives the model, batch size, image size and augmentation.
    """

    def __init__(self, test: SpeedTest) -> None:
        self._recipe, self._n_steps = test.recipe, test.n_steps
        # Before any other import of torchvision: it replaces the compiled operators if they do not fit this torch.
        torchvision_models()
        from torchvision.datasets import ImageFolder

        self._images = ImageFolder(str(test.data), _transforms(test.recipe))
        self._model = make_model(test, len(self._images.classes)).model
        self._optimizer = torch.optim.AdamW(self._model.parameters(), lr=test.recipe.learning_rate)

    def images_per_second(self) -> float:
        """Train for `n_steps` steps and return the images per second.

        The workers' queue is full when the clock starts and empty when it stops, a small advantage for this loop.
        """
        self._model.train()
        batches = self._batches(_N_PREFETCHED + self._n_steps)
        for _ in range(_N_PREFETCHED):
            next(batches)
        start = time.perf_counter()
        for images, labels in batches:
            loss = F.cross_entropy(self._model(images), labels, label_smoothing=self._recipe.label_smoothing)
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
            loss.item()
        return self._n_steps * self._recipe.batch_size / (time.perf_counter() - start)

    def _batches(self, n_batches: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Load batches of randomly drawn images."""
        from torch.utils.data import DataLoader, RandomSampler

        sampler = RandomSampler(self._images, replacement=True, num_samples=n_batches * self._recipe.batch_size)
        return iter(
            DataLoader(self._images, self._recipe.batch_size, sampler=sampler, num_workers=_N_WORKERS, drop_last=True)
        )


def compare_time_to_accuracy(test: SpeedTest, accuracy: float) -> ABResult:
    """Compare the training seconds that the default and the paper's recipe need to reach a test accuracy.

    The test part may be used after every epoch, because nothing is selected by the result.

    Raises
    ------
    ValueError
        If a recipe's epochs end before it reaches the accuracy.
    """
    split = make_split(scan(test.data), test_fraction=test.recipe.test_fraction)
    races = [_race(test, recipe, split, accuracy) for recipe in (test.recipe, test.paper)]
    seconds = zip_longest(*races, fillvalue=0.0)
    ours, theirs = map(sum, zip(*seconds, strict=True))
    name = f"seconds to {accuracy:.2%}, of the paper's recipe"
    return ABResult(name, "s", (ours,), (theirs,), at_most=_MOST_TIME_TO_ACCURACY)


def _race(test: SpeedTest, recipe: Recipe, split: Split, accuracy: float) -> Iterator[float]:
    """Train epoch by epoch until one reaches the accuracy on the test part; yield the seconds of each."""
    parts = {part: decode(test.data, split.images(part), recipe.image.reader()) for part in ("train", "test")}
    labels = {part: np.array([image.label for image in split.images(part)]) for part in parts}
    trainer = make_trainer(test, recipe, len(labels["train"]), n_classes=len(split.classes))
    for _ in range(recipe.epochs):
        with keep_freed_memory():
            _, seconds = trainer.run_epoch(parts["train"], labels["train"], lambda *_: None)
        right = predict_logits(trainer.ema_model, parts["test"]).argmax(axis=1) == labels["test"]
        yield seconds
        if right.mean() >= accuracy:
            return
    raise ValueError(f"{recipe.epochs} epochs did not reach an accuracy of {accuracy:.2%}")


def _preparation_ms(trainer: Trainer, images: ImageBatch) -> float:
    """Return the milliseconds that it takes to select, augment and normalize the images of one step."""
    pixels = torch.from_numpy(images)
    start = time.perf_counter()
    for index in torch.randperm(len(images)).split(trainer.recipe.batch_size):
        prepare(trainer.model, pixels[index], trainer.recipe, trainer.generator)
    return 1e3 * (time.perf_counter() - start) / trainer.steps_per_epoch


def _transforms(recipe: Recipe) -> nn.Module:
    """Return the recipe's augmentation as torchvision transforms."""
    from torchvision import transforms as t

    size = recipe.image_size
    steps: list[nn.Module] = [t.Resize((size, size), antialias=True)]
    if recipe.dihedral:
        quarters = [t.RandomRotation((angle, angle)) for angle in (0, 90, 180, 270)]
        steps += [t.RandomHorizontalFlip(), t.RandomChoice(quarters)]
    if recipe.rotation:
        beyond = math.ceil(size * (math.sqrt(2) - 1) / 2)  # the corners of a square turned by an eighth
        turn = t.RandomRotation(recipe.rotation, interpolation=t.InterpolationMode.BILINEAR)
        steps += [t.Pad(beyond, padding_mode="symmetric"), turn, t.CenterCrop(size)]
    steps += [t.RandomResizedCrop(size, scale=(recipe.min_crop**2, 1.0), ratio=(1.0, 1.0), antialias=True)]
    if recipe.jitter:
        steps += [t.ColorJitter(recipe.jitter, recipe.jitter)]
    steps += [t.ToTensor(), t.Normalize(recipe.image.mean, recipe.image.std)]
    composed: nn.Module = t.Compose(steps)
    return composed


if __name__ == "__main__":
    main()
