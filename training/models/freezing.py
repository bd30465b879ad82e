"""Parts of a pretrained model that stay as they are, and the time that saves."""

import copy

import torch
from torch import nn
from torch.func import functional_call


def freeze_first(model: nn.Module, fraction: float) -> None:
    """Keep the first convolutions and the batch normalisations among them as they are.

    Their gradients are not computed, which saves most where the resolution is highest: in MobileNetV2 the first 9 of 52
    convolutions hold 0.7% of the parameters and take a third of a step's time.

    Parameters
    ----------
    model
        Changed in place: the frozen parameters no longer require gradients.
    fraction
        Of the convolutions, in the order in which the model lists them, rounded down; in [0, 1].
    """
    left = int(fraction * sum(isinstance(module, nn.Conv2d) for module in model.modules()))
    for module in model.modules():
        left -= isinstance(module, nn.Conv2d)
        if left < 0:
            return
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
            module.requires_grad_(requires_grad=False)


def train_mode_except_frozen(model: nn.Module) -> None:
    """Put a model into training mode, but for its frozen batch normalisations, which keep their statistics."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:
            module.eval()


class FrozenStatistics(nn.Module):
    """A model in training whose batch normalisations keep the mean and variance that they have.

    Such a normalisation is a scale and a shift for each channel, so it is folded into the weights of the convolution
    before it, at every step, and its passes over the activations fall away. The gradients reach the convolution's
    weights and the normalisation's scale and shift as they would without the folding.

    Parameters
    ----------
    model
        Has every `BatchNorm2d` right after the `Conv2d` that feeds it, in the order of ``model.modules()``, as
        torchvision's models have. It is shared, not copied: what an optimizer does to its parameters shows here.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self._pairs = _pairs(model)
        skeleton = copy.deepcopy(model).train()
        for convolution, norm in self._pairs:
            bare = skeleton.get_submodule(convolution)
            bare.bias = nn.Parameter(torch.empty(bare.out_channels))  # type: ignore[call-overload]
            parent, _, last = norm.rpartition(".")
            setattr(skeleton.get_submodule(parent), last, nn.Identity())
        # It holds no weights, only the order of the operations; in a tuple, so that it is no part of this module.
        self._skeleton = (skeleton.to("meta"),)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Take float32 ``[N, 3, H, W]`` normalised images and return float32 ``[N, n_classes]`` logits."""
        logits: torch.Tensor = functional_call(self._skeleton[0], self._folded(), (images,), strict=True)
        return logits

    def _folded(self) -> dict[str, torch.Tensor]:
        """Return the skeleton's parameters by name."""
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


def _pairs(model: nn.Module) -> list[tuple[str, str]]:
    """Return the names of each convolution with a batch normalisation and of that normalisation."""
    pairs = []
    before = ""
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            before = name
        elif isinstance(module, nn.BatchNorm2d):
            pairs.append((before, name))
    return pairs
