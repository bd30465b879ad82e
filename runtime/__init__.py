"""Floor 0: what a box without PyTorch needs: images, the bundle, devices, the runner, errors."""

import sys

# OpenVINO's converter and NNCF report their usage through this package. With None in its place the import fails, and
# both take the silent stub that they keep for that case. It must stand before the first import of openvino.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
