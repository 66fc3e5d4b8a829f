"""Exact near-pair search: who in this history lies closer than a radius?

The radius is tiny against the spread of the features, so a cheap pass nominates and only the nominated are
measured. Projections on orthonormal axes never lengthen distances: whoever lies within the radius lies in
the same or an adjacent cell of a grid over the projections, whose cells are as wide as the radius. The sum
of squared differences in float64 decides; matrix products and half precision gave wrong verdicts near the
threshold.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from redhanded.types import FeatureArray, Float32, Float64, Int

SLACK = 1.0 + 1e-6
"""Cells and nominating radii are this much wider than the radius, far above float64's rounding."""


def distances(query: np.ndarray, rows: np.ndarray) -> Float64[np.ndarray, " n"]:
    """Euclidean distances of a feature [d], or of one a row [n, d], to rows [n, d], in float64.

    Summed in one order: a pair has one distance, to the last bit, whoever asks.
    """
    difference = np.subtract(rows, query, dtype=np.float64, order="C")
    return np.asarray(np.sqrt(np.square(difference, out=difference).sum(axis=1)))


def principal_axes(features: FeatureArray, count: int = 3) -> Float32[np.ndarray, "k d"]:
    """Orthonormal axes [count, d] along which `features` spread most, float32; fewer if they span fewer.

    Any axes keep the search exact; these keep it fast.
    """
    if len(features) < 2:
        return np.zeros((0, features.shape[1]), np.float32)
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    spread, axes = np.linalg.eigh(centred.T @ centred)
    # eigh sorts upwards; directions without spread would put every row into one cell and cost look-ups
    kept = [k for k in range(len(spread) - 1, -1, -1) if spread[k] > 1e-9 * spread[-1]][:count]
    return np.ascontiguousarray(axes[:, kept].T, dtype=np.float32)


class Growing:
    """An array [n, ...] that grows by rows, at first a copy; its room doubles, so that n rows cost O(n)."""

    def __init__(self, rows: np.ndarray) -> None:
        self._room, self._count = rows.copy(), len(rows)  # no room to spare: a small account costs little

    def __len__(self) -> int:
        return self._count

    @property
    def rows(self) -> np.ndarray:
        """A view."""
        return self._room[: self._count]

    def append(self, row: object) -> None:
        if self._count == len(self._room):
            room = np.empty((max(4, 2 * self._count), *self._room.shape[1:]), self._room.dtype)
            room[: self._count] = self._room
            self._room = room
        self._room[self._count] = row
        self._count += 1


class NearPairIndex:
    """A growing list of features that answers "who is (strictly) nearer than `radius`?" exactly.

    `axes` [k, dimensions] are orthonormal rows (k small); none means a full scan.
    """

    def __init__(self, dimensions: int, radius: float, axes: np.ndarray | None = None) -> None:
        self.radius = radius
        # shared, not copied, if it comes as float64: a million accounts have one set of axes
        self._axes = np.zeros((dimensions, 0)) if axes is None else np.asarray(axes.T, np.float64)
        # float32 axes are orthonormal up to 1e-7, and the projection of a difference may exceed its length
        # by as much; SLACK covers it
        self._scale = 1.0 / (max(radius, np.finfo(np.float64).tiny) * SLACK)
        self._rows = Growing(np.empty((0, dimensions), np.float32))
        self._cells: dict[tuple[int, ...], list[int]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def rows(self) -> FeatureArray:
        """The features held [n, d], in arrival order; a view."""
        return self._rows.rows

    def _cell(self, feature: np.ndarray) -> tuple[int, ...]:
        place = feature.astype(np.float64) @ self._axes * self._scale
        return tuple(np.floor(place).astype(np.int64).tolist())

    def near(self, feature: np.ndarray) -> tuple[Int[np.ndarray, " k"], Float64[np.ndarray, " k"]]:
        """Return the places of all rows strictly nearer than `radius` to `feature` [d], and how near."""
        cell = self._cell(feature)
        found: list[int] = []
        for around in product(*((place - 1, place, place + 1) for place in cell)):
            found += self._cells.get(around, ())
        if not found:
            return np.empty(0, np.int64), np.empty(0)
        nominated = np.array(sorted(found), np.int64)
        measured = distances(feature, self.rows[nominated])
        near = measured < self.radius
        return nominated[near], measured[near]

    def append(self, feature: np.ndarray) -> None:
        self._cells.setdefault(self._cell(feature), []).append(len(self))
        self._rows.append(feature)


def near_pairs(
    features: FeatureArray, radius: float, *, axes: int = 8, block: int = 256
) -> Iterator[tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"], Float64[np.ndarray, " k"]]]:
    """Yield every pair of rows strictly nearer than `radius`, as (later, earlier, distance).

    They come block by block, sorted by (later, earlier), so that a consumer may reduce as it goes. A k-d
    tree over the principal projections nominates, float64 decides.
    """
    if len(features) < 2:
        return
    projected = features.astype(np.float64) @ principal_axes(features, axes).T.astype(np.float64)
    if projected.shape[1] == 0:  # all rows are equal
        projected = np.zeros((len(features), 1))
    tree = cKDTree(projected)
    for start in range(0, len(features), block):
        rows = np.arange(start, min(start + block, len(features)))
        hits: Any = tree.query_ball_point(projected[rows], radius * SLACK, return_sorted=True)
        later = np.repeat(rows, [len(h) for h in hits])
        earlier = np.concatenate([np.asarray(h, np.int64) for h in hits])
        kept = earlier < later
        later, earlier = later[kept], earlier[kept]
        parts = [slice(at, at + 16384) for at in range(0, len(later), 16384)]
        found = [distances(features[later[part]], features[earlier[part]]) for part in parts]
        measured = np.concatenate([*found, np.empty(0)])
        near = measured < radius
        yield later[near], earlier[near], measured[near]
