"""The demo world's images: digits over photographs, made from what scikit-learn ships, no download.

The construction is MNIST-M's (Ganin and Lempitsky 2015): a digit inverts the colours of the photograph
under it. There are 1,797 digits and two photographs to draw from, so crops vary in place, scale, rotation,
mirroring and colour; otherwise an honest stream would be full of near-duplicates. The digits that train
the victim, the thief's and the honest user's are disjoint.
"""

from functools import cache
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor

from redhanded.lab.data.images import ImageSet
from redhanded.lab.warp import affine

DemoSet = Literal["digits", "other-digits", "grey-digits", "photos"]
DEMO_SETS: tuple[DemoSet, ...] = ("digits", "other-digits", "grey-digits", "photos")
"""Of falling similarity to what the victim knows: its own kind; digits mirrored into signs it never saw;
digits on plain grey; photographs without a digit."""
OWNERS = {"victim": (0.0, 0.45), "thief": (0.45, 0.6), "honest": (0.6, 0.8), "test": (0.8, 1.0)}
"""Which share of the digits each party draws from."""


@cache
def _digits() -> tuple[Tensor, np.ndarray]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.target))
    return torch.from_numpy(bunch.images[order] / 16.0).float(), bunch.target[order]


@cache
def _photographs() -> list[Tensor]:
    """Each photograph at halved sizes, so that a crop of any scale is read at about its own resolution."""
    from sklearn.datasets import load_sample_images

    levels = []
    for image in load_sample_images().images:
        photo = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255
        levels += [photo] + [F.avg_pool2d(photo, 2**k) for k in (1, 2, 3)]
    return levels


def demo_set(kind: DemoSet, owner: str, count: int, seed: int = 0) -> ImageSet:
    """Compose `count` images of `kind` from the digits of `owner`; equal arguments, equal images."""
    # the bytes of the name, as `hash` of a string differs between processes
    stable = int.from_bytes(f"{kind}/{owner}".encode(), "big") % (2**31 - 1) + 7919 * seed
    generator = torch.Generator().manual_seed(stable)
    digits, targets = _digits()
    low, high = (int(share * len(targets)) for share in OWNERS[owner])
    chosen = torch.randint(low, high, (count,), generator=generator)
    parts = [_compose(kind, some, generator) for some in torch.split(digits[chosen], 2048)]
    return ImageSet(
        name=kind,
        split=owner,
        images=torch.cat(parts).permute(0, 2, 3, 1).contiguous().numpy(),
        labels=targets[chosen.numpy()].astype(np.int64),
        classes=tuple(str(d) for d in range(10)),
    )


def _compose(kind: DemoSet, digits: Tensor, generator: torch.Generator) -> Tensor:
    n = len(digits)
    ground = _grey(n, generator) if kind == "grey-digits" else _crops(n, generator)
    if kind != "photos":
        masks = _place(digits, generator, mirrored=kind == "other-digits")
        colour = 0.75 + 0.25 * torch.rand(n, 3, 1, 1, generator=generator)
        ground = (ground - masks * colour).abs()
    return (ground.clamp(0, 1) * 255).round().to(torch.uint8)


def _place(digits: Tensor, generator: torch.Generator, *, mirrored: bool) -> Tensor:
    """Draw digits [n, 8, 8] at random size, tilt and place: masks [n, 1, 32, 32] in [0, 1]."""
    n = len(digits)
    size = 0.62 + 0.3 * torch.rand(n, generator=generator)
    tilt = (torch.rand(n, generator=generator) - 0.5) * 0.5
    shift = (torch.rand(2, n, generator=generator) * 2 - 1) * (1 - size) * 0.8
    theta = affine((1 / size).expand(2, n), tilt, -shift / size)
    if mirrored:
        theta[:, 0] *= -1
    return _sample(digits[:, None], theta)


def _grey(n: int, generator: torch.Generator) -> Tensor:
    level = torch.rand(n, 1, 1, 1, generator=generator) * 0.5
    grain = torch.randn(n, 1, 32, 32, generator=generator) * 0.04
    return (level + grain).expand(-1, 3, -1, -1)


def _crops(n: int, generator: torch.Generator) -> Tensor:
    """Crop photographs at random place, scale, rotation and mirroring, with random colours."""
    levels = _photographs()
    # 32 output pixels span `span` pixels of the photograph, from 1:1 to nearly its height
    span = 32 * 2 ** (3.5 * torch.rand(n, generator=generator))
    photo = torch.randint(0, len(levels) // 4, (n,), generator=generator)
    tilt = (torch.rand(n, generator=generator) - 0.5) * 2 * torch.pi
    mirror = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0)
    place = torch.rand(2, n, generator=generator) * 2 - 1
    crops = torch.empty(n, 3, 32, 32)
    for level, source in enumerate(levels):
        rows = ((photo == level // 4) & ((span / 32).log2().floor().long() == level % 4)).nonzero()[:, 0]
        if len(rows) == 0:
            continue
        height, width = levels[level - level % 4].shape[2:]
        room = torch.stack([1 - span[rows] / width, 1 - span[rows] / height]).clamp(min=0)
        theta = affine((span[rows] / width).expand(2, len(rows)), tilt[rows], place[:, rows] * room)
        theta[:, 1] *= torch.tensor([width / height, width / height, 1.0])
        theta[:, :, 0] *= mirror[rows, None]
        crops[rows] = _sample(source.expand(len(rows), -1, -1, -1), theta, padding="reflection")
    mixed = torch.stack([crop[torch.randperm(3, generator=generator)] for crop in crops])
    gain = 0.5 + torch.rand(n, 3, 1, 1, generator=generator)
    offset = (torch.rand(n, 3, 1, 1, generator=generator) - 0.5) * 0.3
    return ((mixed - 0.5) * gain + 0.5 + offset).clamp(0, 1)


def _sample(source: Tensor, theta: Tensor, padding: str = "zeros") -> Tensor:
    grid = F.affine_grid(theta, [len(theta), 1, 32, 32], align_corners=False)
    return F.grid_sample(source, grid, padding_mode=padding, align_corners=False)
