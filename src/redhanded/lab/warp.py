"""Rotate, scale and shift images, batched, one draw per image."""

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor

from redhanded.lab.types import Images
from redhanded.types import Float


def warp(
    images: Images,
    which: Tensor,
    angle: Float[Tensor, " n"],
    window: Float[Tensor, "2 n"],
    shift: Float[Tensor, "2 n"],
) -> Images:
    """Turn those in `which` and show a window of them, sides and shift in shares of theirs; black outside.

    A window larger than the image shrinks it.
    """
    rows = which.nonzero()[:, 0]
    if len(rows) == 0:
        return images
    theta = affine(window[:, rows], angle[rows], 2 * shift[:, rows]).to(images.device)
    rows = rows.to(images.device)
    chosen = images[rows]
    grid = F.affine_grid(theta, list(chosen.shape), align_corners=False)
    changed = images.clone()
    changed[rows] = F.grid_sample(chosen, grid, align_corners=False)
    return changed


def affine(
    window: Float[Tensor, "2 n"], angle: Float[Tensor, " n"], shift: Float[Tensor, "2 n"]
) -> Float[Tensor, "n 2 3"]:
    """Return the maps into sampling coordinates, from -1 to 1, for `affine_grid`."""
    cosine, sine, (across, down) = angle.cos(), angle.sin(), window
    rows = [cosine * across, -sine * down, shift[0]], [sine * across, cosine * down, shift[1]]
    return torch.stack([torch.stack(row, 1) for row in rows], 1)
