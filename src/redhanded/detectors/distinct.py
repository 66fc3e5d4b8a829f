"""Near-duplicates out of a benign stream: what tunes a threshold must not be full of equal images."""

from dataclasses import dataclass

import numpy as np

from redhanded.detectors.index import distances, near_pairs
from redhanded.errors import RedhandedError
from redhanded.types import Bool, Float32, UInt8

RADIUS = 4.0
"""L2 distance in pixels of [0, 1] (for 32x32 colour images a root mean square of 18/255): 219 pairs of
CIFAR-10's training images are nearer, about two thirds of which are one photograph, by eye; the others are
planes and ships before an empty sky."""
POOL = 4
"""Side of the squares that are averaged to nominate pairs."""


@dataclass(frozen=True)
class Deduplication:
    images: int
    kept: int
    equal: int
    """Left out: an earlier image has the same bytes."""
    near: int
    """Left out: an earlier image that was kept lies within the radius."""
    radius: float


def deduplicate(
    images: UInt8[np.ndarray, "n h w c"], radius: float = RADIUS
) -> tuple[Bool[np.ndarray, " n"], Deduplication]:
    """Return which images [n, h, w, c], bytes, to keep (the first of the equal or near), and a report.

    Near is an L2 distance below `radius` over pixels of [0, 1]. Averages over squares nominate pairs, the
    pixels decide. Raises `RedhandedError` for no images, or sides that the squares do not divide.
    """
    n, height, width = images.shape[:3]
    if n == 0:
        raise RedhandedError("images: there are none; give a stream of benign images")
    if height % POOL or width % POOL:
        raise RedhandedError(f"images: sides of {height}x{width} are no multiples of {POOL}; resize them")
    _, first = np.unique(images.reshape(n, -1), axis=0, return_index=True)
    distinct = np.sort(first)
    kept = np.zeros(n, bool)
    kept[distinct] = True
    for later, earlier, _ in near_pairs(_pooled(images[distinct]), radius):
        for one, other in zip(distinct[later].tolist(), distinct[earlier].tolist(), strict=True):
            if kept[one] and kept[other]:
                here, there = (images[place].reshape(1, -1) / 255 for place in (one, other))
                kept[one] = bool(distances(here[0], there)[0] >= radius)
    count = int(kept.sum())
    return kept, Deduplication(n, count, n - len(distinct), len(distinct) - count, radius)


def _pooled(images: UInt8[np.ndarray, "n h w c"]) -> Float32[np.ndarray, "n d"]:
    # averages, scaled by the square's side: never farther from each other than the images
    n, height, width, channels = images.shape
    squares = images.reshape(n, height // POOL, POOL, width // POOL, POOL, channels)
    sums = squares.sum(axis=(2, 4), dtype=np.uint32)
    return np.asarray(sums.reshape(n, -1) / (255 * POOL), np.float32)
