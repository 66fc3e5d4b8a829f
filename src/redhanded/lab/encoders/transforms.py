"""The slight changes that should not move an image's features, batched, one draw per image."""

import math

import torch
from torch import Tensor

from redhanded.lab.models import CIFAR10_STD
from redhanded.lab.types import Images
from redhanded.lab.warp import warp
from redhanded.types import Float

POSITIVES = ("rotate", "translate", "scale", "crop", "brightness", "contrast", "gaussian", "uniform")
PRETRAINING = ("flip", "zoom", "rotate", "translate", "brightness", "contrast")
LUMA = (0.299, 0.587, 0.114)


def positive(images: Images, generator: torch.Generator) -> Images:
    """Change each image by exactly one of eight transforms, an eighth of them each (the released code).

    Rotation by up to 15 degrees, translation by up to 5%, scale 0.83 to 1.17, square crop of 0.96 to 1 of
    the area, brightness times 0.91 to 1.09, contrast times 0.45 to 1.55, Gaussian noise of 0.095 and uniform
    noise of up to 0.064, the noises in units of the channels' standard deviations.
    """
    n = len(images)
    kind = torch.randint(len(POSITIVES), (n,), generator=generator)
    draw = torch.rand(5, n, generator=generator) * 2 - 1
    angle = torch.where(kind == 0, draw[0] * math.radians(15), 0.0)
    shift = torch.where(kind == 1, draw[1:3] * 0.05, 0.0)
    side = torch.where(kind == 2, 1 / (1 + draw[0] * 0.17), torch.ones(n))
    cropped = (0.98 + 0.02 * draw[0]).sqrt()
    side = torch.where(kind == 3, cropped, side)
    # a crop's window lies anywhere inside the image; in sampling coordinates its room is 1 - side
    shift = torch.where(kind == 3, draw[1:3] * (1 - cropped) / 2, shift)
    changed = warp(images, kind < 4, angle, side.expand(2, n), shift)
    changed = _jittered(changed, kind == 4, kind == 5, 1 + draw[3] * 0.09, 1 + draw[4] * 0.55)
    deviation = torch.tensor(CIFAR10_STD, device=images.device).view(1, 3, 1, 1)
    noise = torch.zeros(images.shape)
    for place, sample in ((6, torch.randn), (7, torch.rand)):
        rows = (kind == place).nonzero()[:, 0]
        drawn = sample(len(rows), *images.shape[1:], generator=generator)
        noise[rows] = drawn * 0.095 if place == 6 else (drawn * 2 - 1) * 0.064
    return changed + noise.to(images.device) * deviation


def pretraining_view(images: Images, generator: torch.Generator) -> Images:
    """Change each image by one of six strong transforms: the augmentation of the released pre-training.

    Mirroring of every other one, a random resized crop (area 0.08 to 1, sides 3:4 to 4:3), rotation by up to
    60 degrees, translation by up to 45%, brightness times 0.5 to 1.5, contrast times 0.45 to 1.55.
    """
    n = len(images)
    kind = torch.randint(len(PRETRAINING), (n,), generator=generator)
    draw = torch.rand(5, n, generator=generator) * 2 - 1
    sides = (0.54 + 0.46 * draw[0]).sqrt() * torch.stack([draw[3], -draw[3]]).mul(math.log(4 / 3) / 2).exp()
    sides = sides.clamp(max=1)
    angle = torch.where(kind == 2, draw[0] * math.radians(60), 0.0)
    shift = torch.where(kind == 3, draw[1:3] * 0.45, 0.0)
    shift = torch.where(kind == 1, draw[1:3] * (1 - sides) / 2, shift)
    window = torch.where(kind == 1, sides, torch.ones(2, n))
    changed = warp(images, (kind >= 1) & (kind <= 3), angle, window, shift)
    flipped = ((kind == 0) & (draw[0] < 0)).to(images.device)[:, None, None, None]
    changed = torch.where(flipped, images.flip(3), changed)
    return _jittered(changed, kind == 4, kind == 5, 1 + draw[3] * 0.5, 1 + draw[4] * 0.55)


def _jittered(
    images: Images,
    brightened: Tensor,
    contrasted: Tensor,
    brightness: Float[Tensor, " n"],
    contrast: Float[Tensor, " n"],
) -> Images:
    def column(values: Tensor) -> Tensor:
        return values.to(images.device).view(-1, 1, 1, 1)

    luma = torch.tensor(LUMA, device=images.device, dtype=images.dtype).view(1, 3, 1, 1)
    grey = (images * luma).sum(1, keepdim=True).mean(dim=(2, 3), keepdim=True)
    changed = torch.where(column(contrasted), (images - grey) * column(contrast) + grey, images)
    changed = torch.where(column(brightened), changed * column(brightness), changed)
    return torch.where(column(brightened | contrasted), changed.clamp(0, 1), images)
