"""Random changes to a batch of images that do not change the class of an image taken from above."""

import math

import torch
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from overfly.training.recipe import Recipe

N_SYMMETRIES = 8


def augment(images: torch.Tensor, recipe: Recipe, generator: torch.Generator) -> torch.Tensor:
    """Return an augmented copy of a batch.

    Parameters
    ----------
    images
        Pixels in 0..255, any dtype, shape ``[N, 3, S, S]``.
    recipe
        Gives the changes: `dihedral`, `rotation`, `min_crop`, `jitter`.
    generator
        Random generator, on the CPU, so that a seed gives the same batches on every device.

    Returns
    -------
    Tensor
        float32 pixels in 0..255, shape ``[N, 3, S, S]``.
    """
    images = images.float()
    if recipe.dihedral:
        images = turn_and_mirror(images, torch.randint(N_SYMMETRIES, (len(images),), generator=generator))
    if recipe.rotation > 0 or recipe.min_crop < 1:
        images = turn_and_crop(images, recipe.rotation, recipe.min_crop, generator)
    if recipe.jitter > 0:
        images = jitter(images, recipe.jitter, generator)
    return images


def apply_symmetry(images: torch.Tensor, index: int) -> torch.Tensor:
    """Return images, shape ``[..., S, S]``, in one of the 8 symmetries of the square.

    The index in 0..7 stands for ``index % 4`` quarter turns; they are mirrored after it if ``index >= 4``.
    """
    turned = torch.rot90(images, index % 4, dims=(-2, -1))
    return turned.flip(-1) if index >= N_SYMMETRIES // 2 else turned


def turn_and_mirror(images: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Apply to each image, ``[N, C, S, S]``, the symmetry with its own index, int64 ``[N]``."""
    result = torch.empty_like(images)
    for index in range(N_SYMMETRIES):
        chosen = indices == index
        result[chosen] = apply_symmetry(images[chosen], index)
    return result


def turn_and_crop(images: torch.Tensor, rotation: float, min_crop: float, generator: torch.Generator) -> torch.Tensor:
    """Cut a square of random side, angle and position, and resize it to the size of the image.

    This is one bilinear resampling. Outside its border, the image is continued by its mirror image.

    Parameters
    ----------
    images
        float32, shape ``[N, C, S, S]``.
    rotation
        Largest angle in both directions, in degrees.
    min_crop
        Smallest side, as a fraction of the image's; the largest is 1.
    generator
        Random generator, on the CPU.

    Returns
    -------
    Tensor
        float32, shape ``[N, C, S, S]``.
    """
    n = len(images)
    side = min_crop + (1 - min_crop) * torch.rand(n, generator=generator)
    angle = math.radians(rotation) * (2 * torch.rand(n, generator=generator) - 1)
    center = (2 * torch.rand(n, 2, generator=generator) - 1) * (1 - side)[:, None]
    theta = torch.empty(n, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = side * angle.cos()
    theta[:, 0, 1] = side * angle.sin()
    theta[:, 1, 0] = -theta[:, 0, 1]
    theta[:, :, 2] = center
    grid = F.affine_grid(theta.to(images.device), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def jitter(images: torch.Tensor, strength: float, generator: torch.Generator) -> torch.Tensor:
    """Scale each image's contrast around its mean, and its brightness, by random factors in ``1 +- strength``."""
    factors = 1 + strength * (2 * torch.rand(2, len(images), 1, 1, 1, generator=generator) - 1)
    contrast, brightness = factors.to(images.device)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    changed: torch.Tensor = ((images - mean) * contrast + mean) * brightness
    return changed.clamp(0, 255)
