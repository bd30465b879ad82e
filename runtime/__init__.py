"""Runtime: what an edge box needs, without PyTorch. Public names: `Classifier`, `Bundle`, `MapJob`, `make_maps`."""

import logging
import os
import sys
from typing import TYPE_CHECKING

from overfly.runtime.lazy import LazyName, lazy_names

# The application decides what to do with our log. Without this handler Python would print warnings to standard error.
logging.getLogger("overfly").addHandler(logging.NullHandler())

# OpenVINO's converter and NNCF report their usage through this package. With None in its place the import fails, and
# both take the silent stub that they keep for that case. It must stand before the first import of openvino.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

# ONNX Runtime decides when it is loaded, on Linux as well since 1.32; its disable_telemetry_events() comes too late.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if sys.platform == "win32":
    from overfly.runtime.cpp_runtime import load_cpp_runtime

    load_cpp_runtime()

if TYPE_CHECKING:
    from overfly.runtime.bundle.bundle import Bundle as Bundle
    from overfly.runtime.classifier import Classifier as Classifier
    from overfly.runtime.mapping.job import MapJob as MapJob
    from overfly.runtime.mapping.job import make_maps as make_maps

__all__ = ["Bundle", "Classifier", "MapJob", "make_maps"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "Bundle": LazyName("overfly.runtime.bundle.bundle"),
            "Classifier": LazyName("overfly.runtime.classifier"),
            "MapJob": LazyName("overfly.runtime.mapping.job"),
            "make_maps": LazyName("overfly.runtime.mapping.job"),
        },
    )
