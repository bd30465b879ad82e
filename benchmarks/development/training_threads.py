"""How well a training uses two cores, with nothing beside it and beside a busy process.

    python -m overfly.benchmarks.development.training_threads DATA --weights FILE

A training with the default recipe and two shares per batch, so in two threads, is compared in turns with

- two independent trainings of the same recipe, in processes of their own with one thread each: what two cores can do;
- the same with one share per batch, which has less to do per step;
- one training with one share per batch, whose operations PyTorch divides among OpenMP's threads;
- itself beside a process that keeps one core busy.

Each is measured in the first epochs, and in the last ones, where SAM computes the gradients twice per step.

Close all other programs first. On a shared machine, only the ratios are meaningful.
"""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection

import torch

from overfly.benchmarks.development.ab_test import ABResult, measure_alternately
from overfly.benchmarks.development.harness import show
from overfly.benchmarks.development.training_steps import (
    SpeedTest,
    draw_images,
    images_per_second,
    make_trainer,
    make_training_parser,
    read_options,
)
from overfly.training.data.dataset import scan
from overfly.training.recipe import Recipe, override

_N_CORES = 2
# A new process for each: a fork of a process with threads can hang.
_PROCESSES = multiprocessing.get_context("spawn")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table or, with ``--json``, an array."""
    parser = make_training_parser("training_threads", n_steps=20)
    options = parser.parse_args(arguments)
    show(compare_threads(read_options(parser, options)), as_json=options.json)


def compare_threads(test: SpeedTest) -> list[ABResult]:
    """Compare the images per second of a training in two threads with the same work in processes, and with itself."""
    torch.set_num_threads(_N_CORES)
    results = []
    for epochs, changes in (("first epochs", {"sam_rho": 0.0}), ("last epochs", {"sam_fraction": 1.0})):
        two_shares, one_share = (override(test.recipe, batch_shares=n, **changes) for n in (2, 1))
        train = _training(test, two_shares)
        train()  # the first step of a model takes longer
        for name, recipe in (("two trainings", two_shares), ("two trainings with one share", one_share)):
            with _independent_trainings(test, recipe) as theirs:
                figures = measure_alternately(test.n_rounds, train, theirs)
            results.append(ABResult(f"{epochs}, of {name}", "images/s", *figures, at_least=0.9))
        whole = _training(test, one_share)
        whole()
        figures = measure_alternately(test.n_rounds, train, whole)
        results.append(ABResult(f"{epochs}, of OpenMP's threads", "images/s", *figures, at_least=1.0))

        def beside_busy_process(train: Callable[[], float] = train) -> float:
            with _start(_keep_busy):
                return train()

        figures = measure_alternately(test.n_rounds, beside_busy_process, train)
        results.append(ABResult(f"{epochs}, beside a busy process, of alone", "images/s", *figures, at_least=0.5))
    return results


def _training(test: SpeedTest, recipe: Recipe) -> Callable[[], float]:
    """Return a function that trains for the steps of one measurement and returns the images per second."""
    dataset = scan(test.data)
    images, labels = draw_images(test, dataset)
    trainer = make_trainer(test, recipe, len(labels), n_classes=len(dataset.classes))
    return lambda: images_per_second(trainer, images, labels)


@contextmanager
def _independent_trainings(test: SpeedTest, recipe: Recipe) -> Iterator[Callable[[], float]]:
    """Start as many trainings as there are cores; yield a function that returns the sum of their images per second."""
    with _start(_train_on_demand, test, recipe) as first, _start(_train_on_demand, test, recipe) as second:

        def train() -> float:
            for connection in (first, second):
                connection.send(None)
            return float(first.recv() + second.recv())

        train()
        yield train


@contextmanager
def _start(work: Callable[..., None], *arguments: object) -> Iterator[Connection]:
    """Inside the block, run a function in a process of its own; yield the connection to it, once it has sent a word."""
    ours, theirs = _PROCESSES.Pipe()
    process = _PROCESSES.Process(target=work, args=(theirs, *arguments), daemon=True)
    process.start()
    try:
        ours.recv()
        yield ours
    finally:
        process.kill()
        process.join()


def _train_on_demand(connection: Connection, test: SpeedTest, recipe: Recipe) -> None:
    """Train on one thread whenever a message comes, and send the images per second."""
    torch.set_num_threads(1)
    train = _training(test, recipe)
    connection.send("ready")
    while True:
        connection.recv()
        connection.send(train())


def _keep_busy(connection: Connection) -> None:
    """Use one core all the time."""
    connection.send("ready")
    while True:
        pass


if __name__ == "__main__":
    main()
