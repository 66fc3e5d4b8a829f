"""The Stateful Detector (Chen, Carlini and Wagner 2019; paper §V-D): a query's mean distance to its nearest.

Also the exact search for the nearest among an account's own queries, which PRADA shares: a float32 matrix
product over many queries nominates, with a slack above its rounding, and the float64 distance decides.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from redhanded.detectors.base import Arrays, Encoder, Scope, Verdict, check_images
from redhanded.detectors.index import distances
from redhanded.detectors.statistic import Judged, check_threshold, judge
from redhanded.errors import RedhandedError
from redhanded.types import FeatureArray, Float32, Float64, Int, OutputArray

BLOCK = 256
"""Queries whose matrix products are taken at once: enough to reuse the history, 61 MB against 60,000 rows."""


class Growing:
    """An array [n, *shape] that grows by rows; its room doubles, so that n rows cost O(n)."""

    def __init__(self, shape: tuple[int, ...], dtype: type[np.generic]) -> None:
        """Start empty, with no room: a small account costs little."""
        self._room = np.empty((0, *shape), dtype)
        self._count = 0

    @classmethod
    def of(cls, rows: np.ndarray) -> "Growing":
        """Start with a copy of `rows`."""
        growing = cls(rows.shape[1:], rows.dtype.type)
        growing._room, growing._count = rows.copy(), len(rows)
        return growing

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._count

    @property
    def rows(self) -> np.ndarray:
        """The rows so far; a view."""
        return self._room[: self._count]

    def append(self, row: object) -> None:
        """Add one row."""
        if self._count == len(self._room):
            room = np.empty((max(4, 2 * self._count), *self._room.shape[1:]), self._room.dtype)
            room[: self._count] = self._room
            self._room = room
        self._room[self._count] = row
        self._count += 1


class History:
    """Features in order of arrival, and the squared norms that estimate distances to them."""

    def __init__(self, dimensions: int) -> None:
        """Start empty."""
        self._features = Growing((dimensions,), np.float32)
        self._norms = Growing((), np.float64)

    @classmethod
    def of(cls, features: FeatureArray) -> "History":
        """Start with a copy of features [n, d]."""
        history = cls(features.shape[1])
        history._features, history._norms = Growing.of(features), Growing.of(_norms(features))
        return history

    def __len__(self) -> int:
        """Return the number of features."""
        return len(self._features)

    @property
    def features(self) -> FeatureArray:
        """The features [n, d]; a view."""
        return self._features.rows

    @property
    def norms(self) -> Float64[np.ndarray, " n"]:
        """Their squared norms; a view."""
        return self._norms.rows

    def append(self, feature: np.ndarray, norm: float) -> None:
        """Add one feature [d] and its squared norm."""
        self._features.append(feature)
        self._norms.append(norm)


class Search:
    """Queries [m, d] that ask one after the other for the nearest in a history, and join it in their order.

    While it is in use, nothing else may be added to the history.
    """

    def __init__(self, history: History, queries: FeatureArray) -> None:
        """Estimate all distances, to the history and among the queries."""
        self.history = history
        self._queries, self._norms = queries, _norms(queries)
        self._before = _estimates(queries, self._norms, history.features, history.norms)
        self._among = _estimates(queries, self._norms, queries, self._norms)
        self._joined: list[int] = []
        # With M the largest norm and u = 2^-24, a float32 product of d terms errs by at most d u M^2 in any
        # order of summation, so |q|^2 + |h|^2 - 2 q.h by (2 d + 10) u M^2. A row among the nearest is
        # estimated at most twice that above the last estimate of as many rows; doubled again, to cover d^2
        # terms and the rounding of the bound itself.
        largest = max(self._norms.max(initial=0.0), history.norms.max(initial=0.0))
        dimensions = queries.shape[1]
        self._slack = (8 * dimensions + 64) * (2.0**-24 * float(largest) + float(np.finfo(np.float32).tiny))

    def nearest(self, place: int, count: int) -> tuple[Int[np.ndarray, " k"], Float64[np.ndarray, " k"]]:
        """Return places and distances of the `count` rows nearest to a query, the nearest first.

        Fewer if the history holds fewer; of equally near rows the earliest come first.
        """
        estimates = np.concatenate([self._before[place], self._among[place][self._joined]])
        if len(estimates) > count:
            last = float(np.partition(estimates, count - 1)[count - 1])
            nominated = np.flatnonzero(estimates <= last + self._slack)
        else:
            nominated = np.arange(len(estimates))
        measured = distances(self._queries[place], self.history.features[nominated])
        order = np.argsort(measured, kind="stable")[:count]
        return nominated[order], measured[order]

    def join(self, place: int) -> None:
        """Add a query to the history."""
        self.history.append(self._queries[place], float(self._norms[place]))
        self._joined.append(place)


def _norms(features: FeatureArray) -> Float64[np.ndarray, " n"]:
    return np.asarray(np.square(features, dtype=np.float64).sum(axis=1))


def _estimates(
    queries: Float32[np.ndarray, "m d"],
    query_norms: Float64[np.ndarray, " m"],
    rows: Float32[np.ndarray, "n d"],
    norms: Float64[np.ndarray, " n"],
) -> Float32[np.ndarray, "m n"]:
    """Squared distances [m, n] up to float32's rounding of the norms."""
    estimates = queries @ rows.T
    estimates *= np.float32(-2)
    estimates += norms.astype(np.float32)
    estimates += query_norms.astype(np.float32)[:, None]
    return np.asarray(estimates)


@dataclass
class StatefulMemory:
    """One account's history since it was opened (or since the capacity wiped it)."""

    history: History = field(default_factory=lambda: History(0))
    offset: int = 0
    """Queries forgotten by capacity wipes: place in the account's log minus place in the history."""
    flags: int = 0
    banned: bool = False


@dataclass(frozen=True)
class StatefulDetector:
    """Alarm at a query whose `neighbours` nearest earlier queries of the account are near on average.

    The statistic is the mean Euclidean distance to them; until the account has sent that many, there is none.

    Args:
        encoder: what embeds the images; the pixels themselves make it the source's L2 detector.
        threshold: mean distance below which (strictly) a query alarms. From `calibrate`; the source's, 1.44
            with its encoder and 5.069 on pixels, are the 0.1th percentile over training images, which it
            takes with each image's distance 0 to itself.
        neighbours: how many are averaged (source: 50).
        flags_to_ban: the account is closed when its alarms reach this (source: the first one).
        capacity: wipe the history, without an alarm, when it holds this many queries. None never forgets.

    Source: Chen, Carlini and Wagner, "Stateful detection of black-box adversarial attacks", and its code.
    """

    encoder: Encoder
    threshold: float
    neighbours: int = 50
    flags_to_ban: int = 1
    capacity: int | None = None

    needs_outputs = False
    scope: ClassVar[Scope] = "account"

    def __post_init__(self) -> None:
        """Reject settings that could never judge."""
        check_threshold(self.threshold, self.flags_to_ban)
        if self.neighbours < 1:
            raise RedhandedError(f"neighbours: {self.neighbours} must be at least 1")
        if self.capacity is not None and self.capacity <= self.neighbours:
            raise RedhandedError(
                f"capacity: {self.capacity} must be more than the {self.neighbours} neighbours, or None; "
                "nothing would ever be tested"
            )

    def features(self, images: np.ndarray) -> FeatureArray:
        """Embed images [n, c, h, w] in [0, 1]; raises `RedhandedError` for anything else."""
        return self.encoder(check_images(images))

    def new_memory(self) -> StatefulMemory:
        """Return the memory of an account that has sent nothing."""
        return StatefulMemory()

    def update(
        self, memory: StatefulMemory, features: FeatureArray, outputs: OutputArray | None = None
    ) -> Verdict:
        """Judge features [n, d] one after the other; `outputs` are not needed."""
        del outputs
        return judge(memory, self._judged(memory, features), self.threshold, self.flags_to_ban)

    def _judged(self, memory: StatefulMemory, features: FeatureArray) -> Iterator[Judged]:
        at = 0
        while at < len(features):
            if not len(memory.history):
                memory.history = History(features.shape[1])
            # a wipe falls on the end of a block
            room = BLOCK if self.capacity is None else min(BLOCK, self.capacity - len(memory.history))
            block = features[at : at + room]
            at += len(block)
            search = Search(memory.history, block)
            for place in range(len(block)):
                judged = Judged(np.inf)
                if len(memory.history) >= self.neighbours:
                    places, measured = search.nearest(place, self.neighbours)
                    judged = Judged(float(measured.mean()), memory.offset + int(places[0]))
                search.join(place)
                if len(memory.history) == self.capacity:
                    memory.offset += self.capacity
                    memory.history = History(features.shape[1])
                yield judged

    def dump(self, memory: StatefulMemory) -> Arrays:
        """Return the memory as arrays: `rows` float32 [n, d] and `state` int64 [3]."""
        return {
            "rows": memory.history.features.copy(),
            "state": np.array([memory.offset, memory.flags, memory.banned], np.int64),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> StatefulMemory:
        """Return the memory that `dump` wrote."""
        offset, flags, banned = state["state"].tolist()
        return StatefulMemory(History.of(state["rows"]), offset, flags, bool(banned))
