"""The generator of data-free extraction, how its output becomes pixels, and what it learns from answers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from redhanded.lab.models import CIFAR10_MEAN, CIFAR10_STD
from redhanded.lab.types import Fidelity, Images
from redhanded.types import Float

DirectionLaw = Literal["sphere", "gaussian"]
"""Uniform on the unit sphere, or standard normal."""


class ImageGenerator(nn.Module):
    """DFME's generator: a linear layer to a quarter of the image's size, doubled twice by nearest neighbours.

    Its output is what `pixels` takes, before tanh: forward differences are taken there. The final batch norm
    has no weights, so that the generator can neither saturate tanh nor shrink into grey.
    """

    def __init__(
        self, latent: int = 256, width: int = 128, shape: tuple[int, int, int] = (3, 32, 32)
    ) -> None:
        """Take `latent` numbers to images of `shape`, whose sides are multiples of 4, at least 8."""
        super().__init__()
        channels, height, across = shape
        self.start = (width, height // 4, across // 4)
        self.linear = nn.Linear(latent, width * (height // 4) * (across // 4))
        self.layers = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(0.2),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(width, width // 2, 3, padding=1),
            nn.BatchNorm2d(width // 2),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width // 2, channels, 3, padding=1),
            nn.BatchNorm2d(channels, affine=False),
        )

    def forward(self, noise: Float[Tensor, "n latent"]) -> Float[Tensor, "n c h w"]:
        output: Tensor = self.layers(self.linear(noise).unflatten(1, self.start))
        return output


def pixels(raw: Float[Tensor, "n c h w"], fidelity: Fidelity) -> Images:
    """Squash a generator's output by tanh into images of [0, 1].

    `released`: tanh gives standardised images, which span a deviation around the mean and never the whole of
    [0, 1] (0.29 to 0.69 in red). `corrected`: -1 is black and 1 is white.
    """
    squashed = raw.tanh()
    if fidelity == "corrected":
        return (squashed + 1) / 2
    mean, std = (
        torch.tensor(values, dtype=raw.dtype).view(1, 3, 1, 1) for values in (CIFAR10_MEAN, CIFAR10_STD)
    )
    return (squashed * moved(std, raw.device) + moved(mean, raw.device)).clamp(0, 1)


def moved(values: Tensor, device: torch.device) -> Tensor:
    """Bring values from the CPU to the device without waiting for what the device is doing."""
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


def draw_directions(
    points: Float[Tensor, "n c h w"], count: int, law: DirectionLaw, generator: torch.Generator
) -> Float[Tensor, "n m c h w"]:
    """Draw `count` directions for each point."""
    directions = torch.randn(len(points), count, *points.shape[1:], generator=generator)
    if law == "sphere":
        directions /= directions.flatten(2).norm(dim=2)[..., None, None, None]
    return moved(directions, points.device)


def forward_differences(
    beside: Float[Tensor, "n m"],
    at: Float[Tensor, " n"],
    directions: Float[Tensor, "n m c h w"],
    epsilon: float,
) -> Float[Tensor, "n c h w"]:
    """Eq. 4: the mean, over a point's directions, of a direction times the slope along it.

    Values that are unknown (NaN) count as no slope; a point without any slope has gradient 0.
    """
    slopes = (beside - at[:, None]) / epsilon
    known = ~slopes.isnan()
    slopes = torch.where(known, slopes, 0) / known.sum(1, keepdim=True).clamp(min=1)
    return (slopes[..., None, None, None] * directions).sum(1)


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute in plain float32: autocast or TF32 would drown a step of 1.8e-5 an element."""
    allowed = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = allowed
