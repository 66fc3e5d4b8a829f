"""Blacklight (Li et al. 2020; paper §V-D): images that share fingerprints with anybody's earlier image."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import ClassVar

import numpy as np

from redhanded.detectors import checks
from redhanded.detectors.base import Arrays, Scope, check_images
from redhanded.detectors.index import Growing
from redhanded.detectors.statistic import Evidence, StatisticDetector
from redhanded.errors import RedhandedError
from redhanded.types import FeatureArray, Float32, Int

HALF = 2**24
"""A hash is kept to 48 bits, as two integers below this, which float32 holds exactly."""
PIXEL = 2
"""Bytes of a quantised pixel."""


@dataclass
class BlacklightMemory:
    rows: Growing
    first: dict[int, int] = field(default_factory=dict)
    """Place of the first query with a hash."""
    later: dict[int, list[int]] = field(default_factory=dict)
    """Places of those after it; most hashes have none, and need no list."""
    flags: int = 0
    banned: bool = False
    """Never: it is the sender who is closed."""


@dataclass(frozen=True)
class BlacklightDetector(StatisticDetector[BlacklightMemory]):
    """Alarm at a query that shares many of its hashes with one earlier query, whoever sent that.

    An image is salted, quantised and cut into windows; its fingerprint is the largest of the windows'
    SHA-256 digests, read backwards. The statistic is 1 - shared / `hashes`, where `shared` counts the hashes
    in common with the earlier query that has most of them. Queries that alarm are remembered as well.

    Args:
        threshold: alarm strictly below; 0.5 is more than 25 of 50 (the source's notes; its port: from 25 on).
        image_shape: (channels, height, width) of the images.
        window: pixels of a window, over channels, rows and columns in this order (port, CIFAR-10: 20).
        stride: pixels from one window to the next.
        quantisation: pixel values 0 to 254 are rounded to multiples of this, halves to the even multiple.
        hashes: size of a fingerprint; an image with fewer different windows has fewer.
        salt_seed: of the secret salt, one integer from 0 to 254 a pixel, added modulo 255.

    Pixels are read as bytes, round(255 x), before they are salted; the port does not round here, which for
    images that were bytes changes nothing but ties. A hash is kept to its 48 leading bits: two windows agree
    by chance once in 2.8e14.

    Source: Li et al., "Blacklight: defending black-box adversarial attacks on deep neural networks", and its
    port in the code of "Stateful defenses for machine learning models are not yet secure" (OARS, CCS 2023).
    """

    threshold: float = 0.5
    image_shape: tuple[int, int, int] = (3, 32, 32)
    window: int = 20
    stride: int = 1
    quantisation: int = 50
    hashes: int = 50
    salt_seed: int = 0
    flags_to_ban: int = 1

    scope: ClassVar[Scope] = "global"

    def __post_init__(self) -> None:
        checks.threshold(self.threshold, self.flags_to_ban)
        sizes = {name: getattr(self, name) for name in ("window", "stride", "quantisation", "hashes")}
        checks.least(1, **sizes)
        if self.quantisation > 254:
            raise RedhandedError(f"quantisation: {self.quantisation} must be at most 254, the largest pixel")
        if not self._starts:
            raise RedhandedError(
                f"window: {self.window} pixels at stride {self.stride} do not fit into images of "
                f"{int(np.prod(self.image_shape))}; choose a smaller one"
            )

    @cached_property
    def _starts(self) -> range:
        """The bytes where windows begin: as many as in the port, which drops the last if a rest is left."""
        room = int(np.prod(self.image_shape)) - self.window + 1
        step = PIXEL * self.stride
        return range(0, max(room, 0) // self.stride * step, step)

    @cached_property
    def _salt(self) -> np.ndarray:
        return np.random.default_rng(self.salt_seed).integers(0, 255, int(np.prod(self.image_shape)))

    @cached_property
    def _levels(self) -> Int[np.ndarray, " values"]:
        """The multiple of `quantisation` nearest to each salted pixel, in the port's 16 bits."""
        return np.asarray(np.rint(np.arange(255) / self.quantisation) * self.quantisation).astype("<i2")

    def features(self, images: np.ndarray) -> FeatureArray:
        """Return the fingerprints [n, 2 * hashes] of images [n, c, h, w] in [0, 1].

        Each hash is two integers below 2^24, the leading half first; the largest hash comes first, and -1
        fills up what is left. Raises `RedhandedError` for images of other values or another shape.
        """
        images = check_images(images, self.image_shape)
        # 255 x is exact in float64, so that only rint rounds
        pixels = np.rint(images.reshape(len(images), len(self._salt)) * np.float64(255)).astype(np.int64)
        rows = np.full((len(images), 2 * self.hashes), -1, np.float32)
        for row, quantised in zip(rows, self._levels[(pixels + self._salt) % 255], strict=True):
            found = self._fingerprint(quantised.tobytes())
            row[: 2 * len(found)] = found.ravel()
        return rows

    def _fingerprint(self, pixels: bytes) -> Float32[np.ndarray, "k 2"]:
        width = PIXEL * self.window
        windows = {pixels[at : at + width] for at in self._starts}
        digests = np.frombuffer(b"".join([sha256(window).digest() for window in windows]), np.uint8)
        # a hexadecimal string read backwards: the last byte comes first, and its halves change places
        last = digests.reshape(-1, 32)[:, :-7:-1].astype(np.int64)
        last = last >> 4 | (last & 15) << 4
        values = np.unique(last @ (1 << np.arange(40, -1, -8)))[: -self.hashes - 1 : -1]
        return np.stack(np.divmod(values, HALF), axis=1).astype(np.float32)

    def new_memory(self) -> BlacklightMemory:
        return BlacklightMemory(Growing(np.empty((0, 2 * self.hashes), np.float32)))

    def weigh(self, memory: BlacklightMemory, row: Float32[np.ndarray, " d"]) -> Evidence:
        place = len(memory.rows)
        halves = row.astype(np.int64).reshape(-1, 2)
        found: list[int] = (halves @ (HALF, 1))[halves[:, 0] >= 0].tolist()
        shared, nearest = _most_shared(memory, found)
        memory.rows.append(row)
        # an image all of whose hashes one earlier image has can never be the first to share most; left out
        # of the index, a million copies of an image cost no more than one
        if shared < len(found):
            for value in found:
                if memory.first.setdefault(value, place) != place:
                    memory.later.setdefault(value, []).append(place)
        return Evidence((self.hashes - shared) / self.hashes if place else np.inf, nearest)

    def arrays(self, memory: BlacklightMemory) -> Arrays:
        """`rows` float32 [n, 2 * hashes]."""
        return {"rows": memory.rows.rows}

    def refill(self, memory: BlacklightMemory, state: Mapping[str, np.ndarray]) -> None:
        for row in state["rows"]:
            self.weigh(memory, row)


def _most_shared(memory: BlacklightMemory, hashes: list[int]) -> tuple[int, int]:
    """How many hashes the earlier query has that has most, and its place; 0 and -1 if none has any."""
    places = [memory.first[value] for value in hashes if value in memory.first]
    for value in hashes:
        places += memory.later.get(value, ())
    if not places:
        return 0, -1
    counted = Counter(places)
    shared = max(counted.values())
    return shared, min(place for place, count in counted.items() if count == shared)
