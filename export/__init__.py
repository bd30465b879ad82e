"""Export: a run becomes a bundle, with parity checked at each step. Public names: `export`, `ExportJob`."""

from typing import TYPE_CHECKING

from overfly.runtime.lazy import LazyName, lazy_names

if TYPE_CHECKING:
    from overfly.export.exporter import ExportJob as ExportJob
    from overfly.export.exporter import export as export

__all__ = ["ExportJob", "export"]

if not TYPE_CHECKING:
    # Importing the package must not import PyTorch or OpenVINO: the command line imports it for its help.
    _HOME = LazyName("overfly.export.exporter", ("train", "export"))
    __getattr__, __dir__ = lazy_names(__name__, dict.fromkeys(__all__, _HOME))
