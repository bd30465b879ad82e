"""The versions of the packages that a result depends on."""

import platform
from importlib import metadata

_PACKAGES = (
    "overfly",
    "torch",
    "torchvision",
    "onnx",
    "onnxscript",
    "openvino",
    "nncf",
    "onnxruntime",
    "numpy",
    "pillow",
)


def installed_versions() -> dict[str, str]:
    """Return Python's version and that of each package of interest that is installed, by name."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
