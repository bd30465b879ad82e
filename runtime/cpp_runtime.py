"""Load Microsoft's C++ runtime on Windows.

The wheels of OpenVINO, ONNX Runtime and PyTorch need MSVCP140.dll. They don't bring it, and neither does CPython
(openvino#23912; seen with openvino 2026.4.1, onnxruntime 1.32.0, torch 2.13.0). The package msvc-runtime puts the DLLs
into folders of the environment where Windows does not look for them.
"""

import ctypes
from contextlib import suppress

# Both are Windows' own: a DLL, or one that it needs, is missing or can't be loaded.
_DLL_NOT_FOUND = ("DLL load failed", "WinError 126")


def load_cpp_runtime() -> None:
    """Load the DLLs of msvc-runtime; Windows then finds them by name. If it is not installed, Windows may have its own.

    A program's older copy of MSVCP140.dll can crash these packages, so ours must be loaded before their first import.
    """
    from importlib import metadata  # slow, and only Windows needs it

    loaded: set[str] = set()
    with suppress(metadata.PackageNotFoundError):
        # Sorted, so that msvcp140.dll is there when the others need it. The package has each file in two folders.
        for file in sorted(metadata.files("msvc-runtime") or (), key=lambda file: file.name.lower()):
            name = file.name.lower()
            if name.startswith("msvcp140") and name.endswith(".dll") and name not in loaded:
                with suppress(OSError):
                    ctypes.CDLL(str(file.locate()))
                    loaded.add(name)


def explain_missing_dll(error: BaseException) -> str | None:
    """Return a sentence with the remedy if an import failed because Windows could not load a DLL, else None."""
    text = str(error)
    if not any(sign in text for sign in _DLL_NOT_FOUND):
        return None
    if _is_loadable("msvcp140.dll"):
        return (
            f"Windows did not load a DLL of a package ({text}): allow it in Windows' security settings if they blocked "
            "it, or install the package again"
        )
    return (
        f"a package needs Microsoft's C++ runtime, which Windows did not find ({text}): "
        "run  python -m pip install msvc-runtime  or install the Visual C++ Redistributable"
    )


def _is_loadable(name: str) -> bool:
    """Return whether Windows finds a DLL."""
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True
