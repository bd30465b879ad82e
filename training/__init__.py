"""Training: a folder of labeled images becomes a run. Public names: `train`, `TrainJob`, `Recipe`.

Rasters and labels become such a folder with `cut_chips` and `ChipsJob`.
"""

from typing import TYPE_CHECKING

from overfly.runtime.lazy import LazyName, lazy_names

if TYPE_CHECKING:
    from overfly.training.data.chips.job import ChipsJob as ChipsJob
    from overfly.training.data.chips.job import cut_chips as cut_chips
    from overfly.training.job import TrainJob as TrainJob
    from overfly.training.job import train as train
    from overfly.training.recipe import Recipe as Recipe

__all__ = ["ChipsJob", "Recipe", "TrainJob", "cut_chips", "train"]

if not TYPE_CHECKING:
    # Importing the package must not import PyTorch or OpenVINO: the command line imports it for its help.
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "ChipsJob": LazyName("overfly.training.data.chips.job", ("geo",)),
            "Recipe": LazyName("overfly.training.recipe"),
            "TrainJob": LazyName("overfly.training.job", ("train",)),
            "cut_chips": LazyName("overfly.training.data.chips.job", ("geo",)),
            "train": LazyName("overfly.training.job", ("train",)),
        },
    )
