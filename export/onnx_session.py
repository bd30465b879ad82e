"""Open an ONNX file in ONNX Runtime, which an extra installs."""

from pathlib import Path
from typing import TYPE_CHECKING

from overfly.runtime.files.names import utf8_text

if TYPE_CHECKING:
    import onnxruntime


def open_onnx_session(path: Path) -> "onnxruntime.InferenceSession":
    """Return a session for an ONNX file on the CPU, with ONNX Runtime's default settings and without telemetry.

    Raises
    ------
    ImportError
        If ONNX Runtime is not installed.
    Exception
        Any error of ONNX Runtime, which has no base class of its own, if it can't run the file.
    """
    import onnxruntime

    # For releases that don't know the environment variable that overfly.runtime sets.
    onnxruntime.disable_telemetry_events()
    return onnxruntime.InferenceSession(utf8_text(path), providers=["CPUExecutionProvider"])
