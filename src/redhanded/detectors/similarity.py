"""The similarity detector (paper §VI-A): an account that sends too many near-duplicates is closed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Literal, get_args

import numpy as np

from redhanded.detectors.base import Arrays, Encoder, Scope, Verdict, check_images
from redhanded.detectors.index import SLACK, NearPairIndex
from redhanded.errors import RedhandedError
from redhanded.types import FeatureArray, OutputArray

Count = Literal["queries", "pairs"]


@dataclass
class SimilarityMemory:
    """One account's history since it was opened (or since the capacity wiped it)."""

    index: NearPairIndex
    offset: int = 0
    """Queries forgotten by capacity wipes: place in the account's log minus place in the index."""
    flags: int = 0
    banned: bool = False


@dataclass(frozen=True)
class SimilarityDetector:
    """Flag a query whose nearest neighbour in the account's history lies at a distance below `delta`.

    Args:
        encoder: what embeds the images; distances are Euclidean in its space.
        delta: the threshold; strict. From `calibrate`.
        count: "queries" adds 1 for a flagged query (the reference code; what the paper's threshold and
            accounts belong to), "pairs" adds 1 for each neighbour (the paper's text, Figure 9).
        flags_to_ban: the account is closed when its flags reach this (paper §VIII-A: 50).
        capacity: wipe the history, without an alarm, when it holds this many queries. None, the default,
            never forgets; the released code wipes at 100,000, which a thief can exploit.
        axes: orthonormal rows [k, d] that speed up the exact search; they never change a verdict.

    Source: paper §VI-A and the authors' released detector.
    """

    encoder: Encoder
    delta: float
    count: Count = "queries"
    flags_to_ban: int = 50
    capacity: int | None = None
    axes: np.ndarray | None = field(default=None, repr=False, compare=False)

    needs_outputs = False
    scope: ClassVar[Scope] = "account"

    def __post_init__(self) -> None:
        """Reject settings that could never judge."""
        if not (np.isfinite(self.delta) and self.delta > 0):
            raise RedhandedError(f"delta: {self.delta} is not a positive distance; calibrate the detector")
        if self.flags_to_ban < 1:
            raise RedhandedError(f"flags_to_ban: {self.flags_to_ban} must be at least 1")
        if self.count not in get_args(Count):
            raise RedhandedError(f"count: {self.count!r} must be one of {', '.join(get_args(Count))}")
        if self.capacity is not None and self.capacity < 2:
            raise RedhandedError(
                f"capacity: {self.capacity} must be at least 2, or None; no pair fits in less"
            )
        # axes that lengthen a distance would hide near pairs from the search
        axes = self._wide_axes
        if axes is not None and axes.size and np.linalg.norm(axes, 2) > np.sqrt(SLACK):
            raise RedhandedError("axes: rows are not orthonormal; take them from `principal_axes`")

    def features(self, images: np.ndarray) -> FeatureArray:
        """Embed images [n, c, h, w] in [0, 1]; raises `RedhandedError` for anything else."""
        return self.encoder(check_images(images))

    def new_memory(self) -> SimilarityMemory:
        """Return the memory of an account that has sent nothing."""
        return SimilarityMemory(self._index(0))

    def _index(self, dimensions: int) -> NearPairIndex:
        return NearPairIndex(dimensions, self.delta, self._wide_axes if dimensions else None)

    @cached_property
    def _wide_axes(self) -> np.ndarray | None:
        return None if self.axes is None else self.axes.astype(np.float64)  # once, for all accounts

    def update(
        self, memory: SimilarityMemory, features: FeatureArray, outputs: OutputArray | None = None
    ) -> Verdict:
        """Judge features [n, d] one after the other; `outputs` are not needed."""
        del outputs
        counts: list[int] = []
        scores: list[float] = []
        nearest: list[int] = []
        banned_at = None
        for place, feature in enumerate(() if memory.banned else features):
            if not len(memory.index):
                memory.index = self._index(len(feature))
            near, measured = memory.index.near(feature)
            closest = int(measured.argmin()) if len(near) else -1
            added = len(near) if self.count == "pairs" else int(len(near) > 0)
            counts.append(added)
            scores.append(float(measured[closest]) if len(near) else np.inf)
            nearest.append(memory.offset + int(near[closest]) if len(near) else -1)
            memory.index.append(feature)
            memory.flags += added
            if memory.flags >= self.flags_to_ban:
                memory.banned, banned_at = True, place
                break
            if self.capacity is not None and len(memory.index) >= self.capacity:
                memory.offset += len(memory.index)
                memory.index = self._index(len(feature))
        return Verdict(
            np.array(counts, np.int64), np.array(scores, np.float64), np.array(nearest, np.int64), banned_at
        )

    def dump(self, memory: SimilarityMemory) -> Arrays:
        """Return the memory as arrays: `rows` float32 [n, d] and `state` int64 [3]."""
        return {
            "rows": memory.index.rows.copy(),
            "state": np.array([memory.offset, memory.flags, memory.banned], np.int64),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> SimilarityMemory:
        """Return the memory that `dump` wrote."""
        rows = state["rows"]
        offset, flags, banned = (int(v) for v in state["state"])
        memory = SimilarityMemory(self._index(rows.shape[1]), offset, flags, bool(banned))
        for row in rows:
            memory.index.append(row)
        return memory
