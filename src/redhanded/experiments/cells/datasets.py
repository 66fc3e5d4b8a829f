"""References to images: small values that cells carry, loaded only where they are needed."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch

from redhanded.lab.data.archive import load
from redhanded.lab.data.demo import DemoSet, demo_set
from redhanded.lab.data.images import ImageSet
from redhanded.lab.types import Images
from redhanded.types import ADDED, ImageArray, Int, UInt8


@dataclass(frozen=True)
class Archived:
    """Rows `skip` to `skip + count` of an image archive; all of it without a count.

    `without` names an extra column of the archive: rows where it is not 0 are left out.
    """

    name: str
    split: str = "train"
    count: int | None = None
    skip: int = 0
    without: str | None = field(default=None, metadata=ADDED)

    def load(self) -> ImageSet:
        """Read the archive; raises `RedhandedError` if it is missing or damaged."""
        full = load(self.name, self.split)
        stop = None if self.count is None else self.skip + self.count
        rows = np.arange(len(full))[self.skip : stop]
        if self.without is not None:
            rows = rows[full.extra[self.without][rows] == 0]
        extra = {name: column[rows] for name, column in full.extra.items()}
        return replace(full, images=full.images[rows], labels=full.labels[rows], extra=extra)


@dataclass(frozen=True)
class Composed:
    """`count` images of the demo world, composed from the digits of `owner`."""

    name: DemoSet
    owner: str
    count: int
    seed: int = 0

    def load(self) -> ImageSet:
        return demo_set(self.name, self.owner, self.count, self.seed)


@dataclass(frozen=True)
class Mixed:
    """Several sets as one: a thief's pool of public images, most of which are beside the point.

    Classes are `set/class`; the extra column `coarse` is the place of the set, so a pool has two levels.
    """

    parts: tuple[Archived | Composed, ...]
    split: ClassVar[str] = "pool"

    @property
    def name(self) -> str:
        return "+".join(part.name for part in self.parts)

    def load(self) -> ImageSet:
        sets = [part.load() for part in self.parts]
        offsets = np.cumsum([0, *(len(one.classes) for one in sets)])
        return ImageSet(
            self.name,
            self.split,
            np.concatenate([one.images for one in sets]),
            np.concatenate([one.labels + at for one, at in zip(sets, offsets, strict=False)]),
            tuple(f"{one.name}/{label}" for one in sets for label in one.classes),
            {"coarse": np.repeat(np.arange(len(sets)), [len(one) for one in sets]).astype(np.uint8)},
        )


Data = Archived | Composed | Mixed


def as_floats(images: UInt8[np.ndarray, "n h w c"]) -> ImageArray:
    """Bytes [n, h, w, c] to float32 [n, c, h, w] in [0, 1]."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(255)


def as_tensor(images: UInt8[np.ndarray, "n h w c"], device: torch.device | str = "cpu") -> Images:
    """Bytes [n, h, w, c] to a float32 tensor [n, c, h, w] in [0, 1] on the device."""
    return torch.from_numpy(as_floats(images)).to(device)


def labelled(data: ImageSet, device: torch.device) -> tuple[Images, Int[torch.Tensor, " n"]]:
    """Return a set's images, as `as_tensor` does, and its labels, both on the device."""
    return as_tensor(data.images, device), torch.from_numpy(data.labels).to(device)
