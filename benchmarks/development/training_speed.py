"""How fast overfly trains, measured side by side with the loop that people write, in turns, on one machine.

    python -m overfly.benchmarks.development.training_speed DATA --weights FILE

compares, each as a ratio over several rounds, images a second in training of

- the same work: model, batch, image size, random changes and arithmetic of the plain loop;
- the default recipe, which keeps the first layers as pretrained;
- the default recipe at its end, where a step takes its gradients twice;

with `PlainLoop`: ImageFolder, DataLoader with 2 workers, fp32. Then the same work with `keep_freed_memory` and
without, and the time that preparing a batch takes, of a step.
With ``--precisions`` it also compares the default recipe in the precision that it chooses on this CPU with itself in
the other one.
With ``--until 0.9143``, the paper's accuracy, it also trains the default and the paper's recipe, an epoch of each in
turns, until each has that accuracy on the test part, and compares the seconds spent in training. That took 15 minutes
on 2 cores.

Close everything else first. Only the ratios mean something on a machine that others use too.
"""

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from overfly.benchmarks.development.ab_test import Comparison, in_turns, show
from overfly.runtime.images.reading import ImageBatch
from overfly.training.data.dataset import Dataset, decode, scan
from overfly.training.data.split import Split, make_split
from overfly.training.loop.trainer import Trainer, predict_logits, resolve_precision
from overfly.training.memory import keep_freed_memory
from overfly.training.models.build import PreprocessedModel, build_model
from overfly.training.models.torchvision_import import torchvision_models
from overfly.training.models.weights import load_pretrained
from overfly.training.recipe import RECIPES, Recipe, override

# Batches that the plain loop's workers may hold ready; they are filled before its turn's time begins.
_N_WORKERS = 2
_N_PREFETCHED = 2 * _N_WORKERS

# What the same work is to be faster by, where the processor has bf16 instructions and where not.
_AT_LEAST_WITH_BF16 = 2.2
_AT_LEAST_WITHOUT = 1.1
_MOST_PREPARATION = 0.1
_MOST_TIME_TO_ACCURACY = 0.1


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure, and how long.

    Attributes
    ----------
    data
        The data folder.
    weights
        ``imagenet``, ``none`` or a file.
    recipe
        Ours; the plain loop has its model, batch, size and random changes.
    n_rounds
        How often every side has its turn.
    n_steps
        Steps that a turn lasts.
    paper
        The paper's recipe, to which the time to an accuracy is compared.
    """

    data: Path
    weights: str
    recipe: Recipe
    n_rounds: int
    n_steps: int
    paper: Recipe


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table, or with ``--json`` one array."""
    parser = argparse.ArgumentParser(prog="overfly.benchmarks.development.training_speed")
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=12, help="of each turn")
    parser.add_argument("--precisions", action="store_true", help="also compare bf16 and fp32")
    parser.add_argument("--until", type=float, metavar="ACCURACY", help="also compare the time to this test accuracy")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.steps < 1:
        parser.error(f"--rounds {options.rounds} and --steps {options.steps} must be at least 1")
    try:
        recipe, paper = (override(RECIPES[name], image_size=options.image_size) for name in ("default", "paper"))
    except ValueError as error:
        parser.error(str(error))
    plan = Plan(options.data, options.weights, recipe, options.rounds, options.steps, paper)
    comparisons = compare_steps(plan)
    if options.precisions:
        comparisons.append(compare_precisions(plan))
    if options.until is not None:
        comparisons.append(compare_time_to_accuracy(plan, options.until))
    show(comparisons, as_json=options.json)


def compare_steps(plan: Plan) -> list[Comparison]:
    """Compare the images a second of the same work and of the recipe, and the share of preparing a batch."""
    dataset = scan(plan.data)
    images, labels = _sample(plan, dataset)
    same_work = override(plan.recipe, batch_norm="train", frozen_fraction=0.0, ema_decay=0.0, sam_rho=0.0)
    plain = PlainLoop(plan)
    has_bf16 = any(torch.cpu.get_capabilities().get(name, False) for name in ("avx512_bf16", "amx_bf16"))
    limit = _AT_LEAST_WITH_BF16 if has_bf16 else _AT_LEAST_WITHOUT
    at_first, at_last = override(plan.recipe, sam_rho=0.0), override(plan.recipe, sam_fraction=1.0)
    comparisons, speeds = [], []
    # The shortest step comes last: of that one, preparing a batch is the largest part.
    for name, recipe, at_least in (
        ("the same work", same_work, limit),
        # Two gradients a step, so no more is asked of it than to be faster than the loop.
        ("the default recipe at its end", at_last, _AT_LEAST_WITHOUT),
        ("the default recipe", at_first, limit),
    ):
        trainer = _trainer(plan, recipe, len(labels), n_classes=len(dataset.classes))
        speeds.append(partial(_images_per_second, trainer, images, labels))
        ours, theirs = in_turns(plan.n_rounds + 1, speeds[-1], plain.images_per_second)
        comparisons.append(Comparison(name, "images/s", ours[1:], theirs[1:], at_least=at_least))
    kept, given_back = in_turns(plan.n_rounds, speeds[0], partial(speeds[0], keep_memory=False))
    comparisons.append(Comparison("keeping freed memory, of not", "images/s", kept, given_back, at_least=1.0))
    step, preparation = in_turns(
        plan.n_rounds,
        lambda: 1e3 * plan.recipe.batch_size / speeds[-1](),
        lambda: _preparation_ms(trainer, images),
    )
    comparisons.append(Comparison("preparing a batch, of a step", "ms", preparation, step, at_most=_MOST_PREPARATION))
    return comparisons


def compare_precisions(plan: Plan) -> Comparison:
    """Compare the recipe in the precision that ``auto`` means on the CPU with itself in the other one."""
    dataset = scan(plan.data)
    images, labels = _sample(plan, dataset)
    chosen = resolve_precision("auto", torch.device("cpu"))
    other = "fp32" if chosen == "bf16" else "bf16"
    recipes = [override(plan.recipe, precision=precision) for precision in (chosen, other)]
    trainers = [_trainer(plan, recipe, len(labels), n_classes=len(dataset.classes)) for recipe in recipes]
    ours, theirs = in_turns(plan.n_rounds, *(partial(_images_per_second, t, images, labels) for t in trainers))
    return Comparison(f"{chosen}, of {other}", "images/s", ours, theirs, at_least=1.0)


class PlainLoop:
    """The training that people write with torchvision: ImageFolder, DataLoader with 2 workers, fp32.

    Parameters
    ----------
    plan
        Says the model, the batch, the size and the random changes.
    """

    def __init__(self, plan: Plan) -> None:
        self._recipe, self._n_steps = plan.recipe, plan.n_steps
        torchvision_models()  # makes the imports below work where the compiled operators don't fit
        from torchvision.datasets import ImageFolder

        self._scenes = ImageFolder(str(plan.data), _transforms(plan.recipe))
        self._model = _model(plan, len(self._scenes.classes)).model
        self._optimizer = torch.optim.AdamW(self._model.parameters(), lr=plan.recipe.learning_rate)

    def images_per_second(self) -> float:
        """Train for a turn.

        The workers' queue is full when the time begins and empty when it ends, which counts a little in this loop's
        favour.
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
        """Load batches of scenes drawn at random."""
        from torch.utils.data import DataLoader, RandomSampler

        sampler = RandomSampler(self._scenes, replacement=True, num_samples=n_batches * self._recipe.batch_size)
        return iter(
            DataLoader(self._scenes, self._recipe.batch_size, sampler=sampler, num_workers=_N_WORKERS, drop_last=True)
        )


def compare_time_to_accuracy(plan: Plan, accuracy: float) -> Comparison:
    """Compare the seconds of training that the recipe and the paper's recipe take to a test accuracy.

    Nothing is chosen by it, so the test part may be looked at after every epoch.

    Raises
    ------
    ValueError
        When a recipe's epochs end before.
    """
    split = make_split(scan(plan.data), test_fraction=plan.recipe.test_fraction)
    races = [_race(plan, recipe, split, accuracy) for recipe in (plan.recipe, plan.paper)]
    seconds = [0.0, 0.0]
    running = [0, 1]
    while running:
        for side in list(running):
            spent, arrived = next(races[side])
            seconds[side] += spent
            if arrived:
                running.remove(side)
    name = f"seconds to {accuracy:.2%}, of the paper's recipe"
    return Comparison(name, "s", (seconds[0],), (seconds[1],), at_most=_MOST_TIME_TO_ACCURACY)


def _race(plan: Plan, recipe: Recipe, split: Split, accuracy: float) -> Iterator[tuple[float, bool]]:
    """Train epoch by epoch; yield each one's seconds and whether the accuracy on the test part is reached."""
    parts = {part: decode(plan.data, split.images(part), size=recipe.image_size) for part in ("train", "test")}
    labels = {part: np.array([scene.label for scene in split.images(part)]) for part in parts}
    trainer = _trainer(plan, recipe, len(labels["train"]), n_classes=len(split.classes))
    for _ in range(recipe.epochs):
        with keep_freed_memory():
            _, seconds = trainer.run_epoch(parts["train"], labels["train"], lambda *_: None)
        right = predict_logits(trainer.averaged, parts["test"]).argmax(axis=1) == labels["test"]
        yield seconds, bool(right.mean() >= accuracy)
    raise ValueError(f"{recipe.epochs} epochs did not reach {accuracy:.2%}")


def _sample(plan: Plan, dataset: Dataset) -> tuple[ImageBatch, npt.NDArray[np.int64]]:
    """Return the images and labels of a turn, drawn at random, with repetition where there are too few."""
    scenes, n_images = dataset.images, plan.n_steps * plan.recipe.batch_size
    chosen = np.random.default_rng(0).choice(len(scenes), n_images, replace=len(scenes) < n_images)
    drawn = [scenes[i] for i in chosen]
    images = decode(plan.data, drawn, size=plan.recipe.image_size)
    return images, np.array([scene.label for scene in drawn], dtype=np.int64)


def _model(plan: Plan, n_classes: int) -> PreprocessedModel:
    """Return the pretrained model."""
    torch.manual_seed(0)
    model: nn.Module = build_model(plan.recipe.model, n_classes)
    load_pretrained(model, plan.recipe.model, plan.weights)
    return PreprocessedModel(model, plan.recipe.image)


def _trainer(plan: Plan, recipe: Recipe, n_images: int, *, n_classes: int) -> Trainer:
    """Return a trainer on the CPU."""
    deployed = _model(plan, n_classes)
    return Trainer(deployed, recipe, n_images=n_images, seed=0, device=torch.device("cpu"))


def _images_per_second(
    trainer: Trainer, images: ImageBatch, labels: npt.NDArray[np.int64], *, keep_memory: bool = True
) -> float:
    """Train on each image once, after a step that takes the memory, as it is taken once in a training."""
    first = slice(trainer.recipe.batch_size)
    with keep_freed_memory() if keep_memory else nullcontext():
        trainer.run_epoch(images[first], labels[first], lambda *_: None)
        return len(images) / trainer.run_epoch(images, labels, lambda *_: None)[1]


def _preparation_ms(trainer: Trainer, images: ImageBatch) -> float:
    """Return what choosing, changing and normalising the images of a step takes."""
    pixels = torch.from_numpy(images)
    start = time.perf_counter()
    for index in torch.randperm(len(images)).split(trainer.recipe.batch_size):
        trainer.prepare(pixels[index])
    return 1e3 * (time.perf_counter() - start) / trainer.steps_per_epoch


def _transforms(recipe: Recipe) -> nn.Module:
    """Return the recipe's random changes in torchvision's own transforms."""
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
