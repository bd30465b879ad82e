"""Keep parts of a pretrained model unchanged in training, which saves time."""

import copy

import torch
from torch import nn
from torch.func import functional_call


def freeze_first(model: nn.Module, fraction: float) -> None:
    """Freeze the first convolutions and the batch normalizations between them.

    Their gradients are not computed. That saves most in the first layers, where the resolution is highest: in
    MobileNetV2 the first 9 of 52 convolutions have 0.7% of the parameters and take a third of a step's time.

    Parameters
    ----------
    model
        Changed in place: the frozen parameters no longer require gradients.
    fraction
        Fraction of the convolutions to freeze, in [0, 1], in the order of ``model.modules()``. Their number is rounded
        down.
    """
    remaining = int(fraction * sum(isinstance(module, nn.Conv2d) for module in model.modules()))
    for module in model.modules():
        remaining -= isinstance(module, nn.Conv2d)
        if remaining < 0:
            return
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
            module.requires_grad_(requires_grad=False)


def train_mode_except_frozen(model: nn.Module) -> None:
    """Switch a model to training mode, except its frozen batch normalizations, which keep their statistics."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:
            module.eval()


class FrozenStatistics(nn.Module):
    """A model in training whose batch normalizations keep their mean and variance.

    With fixed statistics a batch normalization is a scale and a shift per channel. At every step it is folded into the
    weights of the convolution before it, which saves its passes over the activations. The weights of the convolution
    and the scale and shift of the normalization get the same gradients as without folding.

    Parameters
    ----------
    model
        Each `BatchNorm2d` must directly follow, in the order of ``model.modules()``, the `Conv2d` whose output it
        normalizes, as in torchvision's models. The model is shared, not copied, so that an optimizer's changes of its
        parameters take effect here.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self._pairs = normalized_convolutions(model)
        skeleton = copy.deepcopy(model).train()
        for convolution, norm in self._pairs:
            bare = skeleton.get_submodule(convolution)
            bare.bias = nn.Parameter(torch.empty(bare.out_channels))  # type: ignore[call-overload]
            skeleton.set_submodule(norm, nn.Identity())
        # It has no weights, only the order of the operations. The tuple keeps it from being registered as a submodule.
        self._skeleton = (skeleton.to("meta"),)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Take float32 ``[N, 3, H, W]`` normalized images and return float32 ``[N, n_classes]`` logits."""
        logits: torch.Tensor = functional_call(self._skeleton[0], self._folded(), (images,), strict=True)
        return logits

    def _folded(self) -> dict[str, torch.Tensor]:
        """Return the skeleton's parameters by name, with the normalizations folded in."""
        folded: dict[str, torch.Tensor] = dict(self.model.named_parameters())
        for convolution, norm in self._pairs:
            of = self.model.get_submodule(norm)
            scale = of.weight * torch.rsqrt(of.running_var + of.eps)  # type: ignore[operator]
            shift = of.bias - of.running_mean * scale  # type: ignore[operator]
            bias = folded.get(f"{convolution}.bias")
            folded[f"{convolution}.weight"] = folded[f"{convolution}.weight"] * scale[:, None, None, None]
            folded[f"{convolution}.bias"] = shift if bias is None else bias * scale + shift
            del folded[f"{norm}.weight"], folded[f"{norm}.bias"]
        return folded


def normalized_convolutions(model: nn.Module) -> list[tuple[str, str]]:
    """Return the name of each batch normalization, after the name of the convolution before it."""
    pairs = []
    before = ""
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            before = name
        elif isinstance(module, nn.BatchNorm2d):
            pairs.append((before, name))
    return pairs
