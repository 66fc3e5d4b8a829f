"""Labelled images in memory."""

from dataclasses import dataclass, field

import numpy as np

from redhanded.types import Int64, UInt8

SIDE = 32
"""Pixels of an image's side, and tiles of a full sheet's side."""
SHEET = SIDE * SIDE
"""Images of a full sheet."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """One split of a data set; `extra` holds one uint8 value an image, such as `source`."""

    name: str
    split: str
    images: UInt8[np.ndarray, "n 32 32 3"]
    labels: Int64[np.ndarray, " n"]
    classes: tuple[str, ...]
    extra: dict[str, UInt8[np.ndarray, " n"]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)
