"""Import torchvision where its compiled operators don't fit the installed PyTorch.

On Linux, the CPU build of PyTorch beside PyPI's torchvision (a CUDA build) makes ``import torchvision`` die with
``operator torchvision::nms does not exist``: its compiled library does not load, and it registers meta kernels for
two of the operators in it. Models and weights need neither, so declaring the two names is enough.
"""

import sys
from functools import cache
from types import ModuleType

from overfly.runtime.extras import require_extra

# Held for ever: a declaration goes when its Library object goes.
_declared: list[object] = []


@cache
def torchvision_models() -> ModuleType:
    """Return the module ``torchvision.models``.

    Raises
    ------
    MissingExtraError
        If a package of the extra ``train`` is not installed.
    """
    require_extra("train")
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
    """Declare the two operators, and forget the half of torchvision that was imported without them."""
    import torch

    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(library)
