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


def installed_versions(*more: str) -> dict[str, str]:
    """Return the versions of Python and of the installed packages that a result depends on.

    Parameters
    ----------
    *more
        Names of further packages.

    Returns
    -------
    dict
        Version by name of the package; a package that is not installed is left out.
    """
    versions = {"python": platform.python_version()}
    for name in dict.fromkeys((*_PACKAGES, *more)):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
