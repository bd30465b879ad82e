"""Random changes that leave the class of a scene seen from above as it is, a batch at a time."""

import math

import torch
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from overfly.training.recipe import Recipe

_N_DIHEDRAL = 8


def augment(images: torch.Tensor, recipe: Recipe, generator: torch.Generator) -> torch.Tensor:
    """Return a changed copy of a batch.

    Parameters
    ----------
    images
        Pixels in 0..255, any dtype, shape ``[N, 3, S, S]``.
    recipe
        Says which changes (`dihedral`, `rotation`, `min_crop`, `jitter`).
    generator
        The source of chance, on the CPU, so that a seed gives the same batches on every device.

    Returns
    -------
    Tensor
        float32 pixels in 0..255, shape ``[N, 3, S, S]``.
    """
    images = images.float()
    if recipe.dihedral:
        images = turn_and_mirror(images, torch.randint(_N_DIHEDRAL, (len(images),), generator=generator))
    if recipe.rotation > 0 or recipe.min_crop < 1:
        images = turn_and_crop(images, recipe.rotation, recipe.min_crop, generator)
    if recipe.jitter > 0:
        images = jitter(images, recipe.jitter, generator)
    return images


def turn_and_mirror(images: torch.Tensor, ops: torch.Tensor) -> torch.Tensor:
    """Apply to each image one of the 8 symmetries of the square: ``op % 4`` quarter turns, mirrored if ``op >= 4``."""
    result = torch.empty_like(images)
    for op in range(_N_DIHEDRAL):
        chosen = ops == op
        turned = torch.rot90(images[chosen], op % 4, dims=(2, 3))
        result[chosen] = turned.flip(3) if op >= _N_DIHEDRAL // 2 else turned
    return result


def turn_and_crop(images: torch.Tensor, rotation: float, min_crop: float, generator: torch.Generator) -> torch.Tensor:
    """Cut a square of a random side and angle at a random place, and resize it to the image's size.

    All in one bilinear resampling. Beyond the image's border lies the image mirrored.

    Parameters
    ----------
    images
        float32, shape ``[N, C, S, S]``.
    rotation
        Largest angle either way, in degrees.
    min_crop
        Smallest side, as a fraction of the image's; the largest is 1.
    generator
        The source of chance.

    Returns
    -------
    Tensor
        float32, shape ``[N, C, S, S]``.
    """
    n = len(images)
    side = min_crop + (1 - min_crop) * torch.rand(n, generator=generator)
    angle = math.radians(rotation) * (2 * torch.rand(n, generator=generator) - 1)
    centre = (2 * torch.rand(n, 2, generator=generator) - 1) * (1 - side)[:, None]
    theta = torch.empty(n, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = side * angle.cos()
    theta[:, 0, 1] = side * angle.sin()
    theta[:, 1, 0] = -theta[:, 0, 1]
    theta[:, :, 2] = centre
    grid = F.affine_grid(theta.to(images.device), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def jitter(images: torch.Tensor, strength: float, generator: torch.Generator) -> torch.Tensor:
    """Scale each image's contrast about its mean, and its brightness, by factors in ``1 +- strength``."""
    factors = 1 + strength * (2 * torch.rand(2, len(images), 1, 1, 1, generator=generator) - 1)
    contrast, brightness = factors.to(images.device)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    changed: torch.Tensor = ((images - mean) * contrast + mean) * brightness
    return changed.clamp(0, 255)
