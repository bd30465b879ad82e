"""The backends that a report can have rows of. Their names and rules are here; `models.loaders` loads them."""

from dataclasses import dataclass

from overfly.runtime.extras import require_extra

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
    packages
        The packages that it needs, by their import names. The report records the version of the first.
    extra
        The extra that brings them; empty for what is always installed.
    is_deployable
        Whether ``overfly predict`` can run it. Such a row can be recommended, so its p99 must be known.
    has_devices
        Whether it runs on more than the CPU, so that a row's name has to say on what.
    """

    title: str
    short_title: str
    packages: tuple[str, ...]
    extra: str = ""
    is_deployable: bool = False
    has_devices: bool = False


BACKENDS = {
    PYTORCH: BackendFacts("PyTorch", "PyTorch", ("torch", "torchvision", "safetensors"), "train"),
    ONNXRUNTIME: BackendFacts("ONNX Runtime", "ORT", ("onnxruntime",), "bench"),
    OPENVINO: BackendFacts("OpenVINO", "", ("openvino",), is_deployable=True, has_devices=True),
}


def require_backend(backend: str) -> None:
    """Check that the packages of a backend are installed, without importing any.

    Raises
    ------
    MissingExtraError
        If one is missing; the message has the pip command that installs it.
    """
    facts = BACKENDS[backend]
    if facts.extra:
        require_extra(facts.extra, *facts.packages)
