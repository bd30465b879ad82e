"""Floor 0: what a box without PyTorch needs: images, the bundle, devices, the runner, errors."""

import logging
import os
import sys

# The application decides what to do with our log. Without this handler Python would print warnings to standard error.
logging.getLogger("overfly").addHandler(logging.NullHandler())

# OpenVINO's converter and NNCF report their usage through this package. With None in its place the import fails, and
# both take the silent stub that they keep for that case. It must stand before the first import of openvino.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

# ONNX Runtime decides when it is loaded, on Linux as well since 1.32; its disable_telemetry_events() comes too late.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
