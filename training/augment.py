"""Random changes that leave the class of a scene seen from above as it is, a batch at a time."""

import torch
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from overfly.training.recipe import Recipe

_N_DIHEDRAL = 8


def augment(images: torch.Tensor, recipe: Recipe, generator: torch.Generator) -> torch.Tensor:
    """Return a changed copy of a batch.

    Parameters
    ----------
    images
        Pixels in 0..255, any dtype, shape ``[N, 3, S, S]``, where S is the recipe's `image_size`.
    recipe
        Says which changes (`dihedral`, `min_crop`, `train_scale`, `jitter`).
    generator
        The source of chance, on the CPU, so that a seed gives the same batches on every device.

    Returns
    -------
    Tensor
        float32 pixels in 0..255, shape ``[N, 3, T, T]``, where T is the recipe's `train_size`.
    """
    images = images.float()
    if recipe.dihedral:
        images = turn_and_mirror(images, torch.randint(_N_DIHEDRAL, (len(images),), generator=generator))
    if recipe.min_crop < 1 or recipe.train_scale < 1:
        images = crop_and_resize(images, recipe.min_crop, recipe.train_size, generator)
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


def crop_and_resize(images: torch.Tensor, min_crop: float, size: int, generator: torch.Generator) -> torch.Tensor:
    """Cut a square of a random side in ``[min_crop, 1]`` at a random place and resize it to `size` (bilinear)."""
    n = len(images)
    side = min_crop + (1 - min_crop) * torch.rand(n, generator=generator)
    centre = (2 * torch.rand(n, 2, generator=generator) - 1) * (1 - side)[:, None]
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = side
    theta[:, :, 2] = centre
    grid = F.affine_grid(theta.to(images.device), [n, images.shape[1], size, size], align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def jitter(images: torch.Tensor, strength: float, generator: torch.Generator) -> torch.Tensor:
    """Scale each image's contrast about its mean, and its brightness, by factors in ``1 +- strength``."""
    factors = 1 + strength * (2 * torch.rand(2, len(images), 1, 1, 1, generator=generator) - 1)
    contrast, brightness = factors.to(images.device)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    changed: torch.Tensor = ((images - mean) * contrast + mean) * brightness
    return changed.clamp(0, 255)
