"""The slight changes that should not move an image's features, batched, one draw per image."""

import math

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor

from redhanded.lab.models import CIFAR10_STD
from redhanded.lab.types import Images
from redhanded.types import Float

POSITIVES = ("rotate", "translate", "scale", "crop", "brightness", "contrast", "gaussian", "uniform")
PRETRAINING = ("flip", "zoom", "rotate", "translate", "brightness", "contrast")


def positive(images: Images, generator: torch.Generator) -> Images:
    """Change each image by exactly one of eight transforms, an eighth of them each (the released code).

    Rotation by up to 15 degrees, translation by up to 5%, scale 0.83 to 1.17, crop of 0.96 to 1 of the area,
    brightness by up to 0.09, contrast by up to 0.55, Gaussian noise of 0.095 and uniform noise of up to
    0.064, the noises in units of the channels' standard deviations.
    """
    kind = torch.randint(len(POSITIVES), (len(images),), generator=generator)
    draw = torch.rand(5, len(images), generator=generator) * 2 - 1
    angle = torch.where(kind == 0, draw[0] * math.radians(15), 0.0)
    shift = torch.where(kind == 1, draw[1:3] * 0.05, 0.0)
    zoom = torch.where(kind == 2, 1 + draw[0] * 0.17, torch.ones(len(images)))
    side = (0.98 + 0.02 * draw[0]).sqrt()  # of a crop of 0.96 to 1 of the area
    zoom = torch.where(kind == 3, 1 / side, zoom)
    # a crop's window lies anywhere inside the image; in sampling coordinates its room is 1 - side
    shift = torch.where(kind == 3, draw[1:3] * (1 - side) / 2, shift)
    changed = _geometric(images, kind < 4, angle, zoom, shift)
    changed = _brightness_contrast(
        changed, torch.where(kind == 4, draw[3] * 0.09, 0.0), torch.where(kind == 5, draw[4] * 0.55, 0.0)
    )
    deviation = torch.tensor(CIFAR10_STD, device=images.device).view(1, 3, 1, 1)
    noise = torch.zeros(images.shape)
    for place, sample in ((6, torch.randn), (7, torch.rand)):
        rows = (kind == place).nonzero()[:, 0]
        drawn = sample(len(rows), *images.shape[1:], generator=generator)
        noise[rows] = drawn * 0.095 if place == 6 else (drawn * 2 - 1) * 0.064
    return changed + noise.to(images.device) * deviation


def pretraining_view(images: Images, generator: torch.Generator) -> Images:
    """Change each image by one of six strong transforms: the augmentation of the released pre-training.

    Mirroring, a random resized crop (area 0.08 to 1), rotation by up to 60 degrees, translation by up to
    45%, brightness by up to 0.5, contrast by up to 0.55.
    """
    kind = torch.randint(len(PRETRAINING), (len(images),), generator=generator)
    draw = torch.rand(5, len(images), generator=generator) * 2 - 1
    side = (0.54 + 0.46 * draw[0]).sqrt()
    zoom = torch.where(kind == 1, 1 / side, torch.ones(len(images)))
    angle = torch.where(kind == 2, draw[0] * math.radians(60), 0.0)
    shift = torch.where(kind == 3, draw[1:3] * 0.45, 0.0)
    shift = torch.where(kind == 1, draw[1:3] * (1 - side) / 2, shift)
    changed = _geometric(images, (kind >= 1) & (kind <= 3), angle, zoom, shift)
    flipped = (kind == 0).to(images.device)[:, None, None, None]
    changed = torch.where(flipped, images.flip(3), changed)
    return _brightness_contrast(
        changed, torch.where(kind == 4, draw[3] * 0.5, 0.0), torch.where(kind == 5, draw[4] * 0.55, 0.0)
    )


def _geometric(
    images: Images,
    which: Tensor,
    angle: Float[Tensor, " n"],
    zoom: Float[Tensor, " n"],
    shift: Float[Tensor, "2 n"],
) -> Images:
    """Rotate, enlarge by `zoom` and move by `shift` (share of the side) those in `which`; black outside."""
    rows = which.nonzero()[:, 0]
    if len(rows) == 0:
        return images
    cosine, sine = angle[rows].cos() / zoom[rows], angle[rows].sin() / zoom[rows]
    theta = torch.stack(
        [
            torch.stack([cosine, -sine, 2 * shift[0, rows]], 1),
            torch.stack([sine, cosine, 2 * shift[1, rows]], 1),
        ],
        1,
    ).to(images.device)
    rows = rows.to(images.device)
    chosen = images[rows]
    grid = F.affine_grid(theta, list(chosen.shape), align_corners=False)
    changed = images.clone()
    changed[rows] = F.grid_sample(chosen, grid, align_corners=False)
    return changed


def _brightness_contrast(
    images: Images, brightness: Float[Tensor, " n"], contrast: Float[Tensor, " n"]
) -> Images:
    add = brightness.to(images.device).view(-1, 1, 1, 1)
    factor = 1 + contrast.to(images.device).view(-1, 1, 1, 1)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    changed = (images - mean) * factor + mean + add
    touched = (add != 0) | (factor != 1)
    return torch.where(touched, changed.clamp(0, 1), images)
