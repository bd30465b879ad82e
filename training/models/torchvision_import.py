"""Import torchvision even if its compiled operators don't fit the installed PyTorch.

On Linux, PyPI's torchvision is a CUDA build. With the CPU build of PyTorch its compiled library does not load, and
``import torchvision`` fails with ``operator torchvision::nms does not exist``, because it registers meta kernels for
two operators of that library (pytorch/vision#9085; seen with torch 2.13.0+cpu and torchvision 0.28.0). Models and
weights need neither operator, so it is enough to declare the two names.
"""

import sys
from functools import cache
from types import ModuleType

from overfly.runtime.extras import require_extra
from overfly.runtime.files.output_guards import check_temporary_folder

# Kept for the life of the process: a declaration ends with its Library object.
_declared: list[object] = []


@cache
def torchvision_models() -> ModuleType:
    """Return the module ``torchvision.models``.

    Raises
    ------
    MissingExtraError
        If torchvision is not installed.
    OutputError
        If there is no folder for temporary files, which PyTorch needs.
    """
    require_extra("train", "torchvision")
    check_temporary_folder()
    try:
        import torchvision.models
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        _declare_operators()
        import torchvision.models
    models: ModuleType = torchvision.models
    return models


def _declare_operators() -> None:
    """Declare the two operators, and remove the half-imported torchvision so that it is imported again."""
    import torch

    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(library)
