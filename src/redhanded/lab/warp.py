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
    cosine, sine, (across, down) = angle[rows].cos(), angle[rows].sin(), window[:, rows]
    theta = torch.stack(
        [
            torch.stack([cosine * across, -sine * down, 2 * shift[0, rows]], 1),
            torch.stack([sine * across, cosine * down, 2 * shift[1, rows]], 1),
        ],
        1,
    ).to(images.device)
    rows = rows.to(images.device)
    chosen = images[rows]
    grid = F.affine_grid(theta, list(chosen.shape), align_corners=False)
    changed = images.clone()
    changed[rows] = F.grid_sample(chosen, grid, align_corners=False)
    return changed
