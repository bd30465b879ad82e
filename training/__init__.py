"""Training: a folder of labeled images becomes a run. Public names: `train`, `TrainJob`, `Recipe`."""

from typing import TYPE_CHECKING

from overfly.runtime.lazy import LazyName, lazy_names

if TYPE_CHECKING:
    from overfly.training.job import TrainJob as TrainJob
    from overfly.training.job import train as train
    from overfly.training.recipe import Recipe as Recipe

__all__ = ["Recipe", "TrainJob", "train"]

if not TYPE_CHECKING:
    # Importing the package must not import PyTorch or OpenVINO: the command line imports it for its help.
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "Recipe": LazyName("overfly.training.recipe"),
            "TrainJob": LazyName("overfly.training.job", ("train",)),
            "train": LazyName("overfly.training.job", ("train",)),
        },
    )
