"""The backends that a report can have rows of. Their names and rules are here; `models.loaders` loads them."""

from dataclasses import dataclass

PYTORCH = "pytorch"
ONNXRUNTIME = "onnxruntime"
OPENVINO = "openvino"


@dataclass(frozen=True, slots=True)
class BackendFacts:
    """What the report needs to know about a backend.

    Attributes
    ----------
    title
        Its name in tables.
    short_title
        Its name in charts. Empty for OpenVINO: its rows are called by their variant.
    package
        The import name of the package whose version the report records.
    is_deployable
        Whether ``overfly predict`` can run it. Such a row can be recommended, so its p99 must be known.
    has_devices
        Whether it runs on more than the CPU, so that a row's name has to say on what.
    """

    title: str
    short_title: str
    package: str
    is_deployable: bool = False
    has_devices: bool = False


BACKENDS = {
    PYTORCH: BackendFacts("PyTorch", "PyTorch", "torch"),
    ONNXRUNTIME: BackendFacts("ONNX Runtime", "ORT", "onnxruntime"),
    OPENVINO: BackendFacts("OpenVINO", "", "openvino", is_deployable=True, has_devices=True),
}
