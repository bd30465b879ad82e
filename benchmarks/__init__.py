"""Benchmarks: measuring, the report, the paper's tables. Public names: `bench`, `BenchJob`, `read_report`."""

from typing import TYPE_CHECKING

from overfly.runtime.lazy import LazyName, lazy_names

if TYPE_CHECKING:
    from overfly.benchmarks.job import BenchJob as BenchJob
    from overfly.benchmarks.job import bench as bench
    from overfly.benchmarks.results.store import read_report as read_report

__all__ = ["BenchJob", "bench", "read_report"]

if not TYPE_CHECKING:
    # Importing the package must not import PyTorch or OpenVINO: the command line imports it for its help.
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "BenchJob": LazyName("overfly.benchmarks.job"),
            "bench": LazyName("overfly.benchmarks.job"),
            "read_report": LazyName("overfly.benchmarks.results.store"),
        },
    )
