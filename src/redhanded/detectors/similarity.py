"""The similarity detector (paper §VI-A): an account that sends too many near-duplicates is closed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, get_args

import numpy as np

from redhanded.detectors import checks
from redhanded.detectors.base import Arrays, Encoder, Verdict, check_images
from redhanded.detectors.index import SLACK, NearPairIndex
from redhanded.detectors.statistic import CountingDetector, Evidence, judge
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
class SimilarityDetector(CountingDetector[SimilarityMemory]):
    """Flag a query whose nearest neighbour in the account's history lies at a distance below `delta`.

    Args:
        encoder: what embeds the images; distances are Euclidean in its space.
        delta: the threshold; strict. From `calibrate`.
        count: "queries" adds 1 for a flagged query (the reference code; what the paper's threshold and
            accounts belong to), "pairs" adds 1 for each neighbour (the paper's text, Figure 9).
        flags_to_ban: the account is closed when its flags reach this (paper §VIII-A: 50).
        capacity: wipe the history, without an alarm, when it holds this many queries (the released code:
            100,000, which a thief can exploit); None never forgets.
        axes: orthonormal rows [k, d] that speed up the exact search; they never change a verdict.

    Source: paper §VI-A and the authors' released detector.
    """

    encoder: Encoder
    delta: float
    count: Count = "queries"
    flags_to_ban: int = 50
    capacity: int | None = None
    axes: np.ndarray | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not (np.isfinite(self.delta) and self.delta > 0):
            raise RedhandedError(f"delta: {self.delta} is not a positive distance; calibrate the detector")
        checks.least(1, flags_to_ban=self.flags_to_ban)
        checks.choice(get_args(Count), count=self.count)
        checks.capacity(self.capacity, 2, "at least 2", "no pair fits in less")
        # axes that lengthen a distance would hide near pairs from the search
        axes = self._wide_axes
        if axes is not None and axes.size and np.linalg.norm(axes, 2) > np.sqrt(SLACK):
            raise RedhandedError("axes: rows are not orthonormal; take them from `principal_axes`")

    def features(self, images: np.ndarray) -> FeatureArray:
        return self.encoder(check_images(images))

    def new_memory(self) -> SimilarityMemory:
        return SimilarityMemory(self._index(0))

    def _index(self, dimensions: int) -> NearPairIndex:
        return NearPairIndex(dimensions, self.delta, self._wide_axes if dimensions else None)

    @cached_property
    def _wide_axes(self) -> np.ndarray | None:
        return None if self.axes is None else self.axes.astype(np.float64)  # once, for all accounts

    def update(
        self, memory: SimilarityMemory, features: FeatureArray, outputs: OutputArray | None = None
    ) -> Verdict:
        del outputs
        return judge(memory, self._evidence(memory, features), self.delta, self.flags_to_ban)

    def _evidence(self, memory: SimilarityMemory, features: FeatureArray) -> Iterator[Evidence]:
        for feature in features:
            if not len(memory.index):
                memory.index = self._index(len(feature))
            near, measured = memory.index.near(feature)
            memory.index.append(feature)
            if len(near):
                closest = int(measured.argmin())
                weight = len(near) if self.count == "pairs" else 1
                yield Evidence(float(measured[closest]), memory.offset + int(near[closest]), weight)
            else:
                yield Evidence(np.inf)
            # not reached by the query that closes the account
            if self.capacity is not None and len(memory.index) >= self.capacity:
                memory.offset += len(memory.index)
                memory.index = self._index(len(feature))

    def arrays(self, memory: SimilarityMemory) -> Arrays:
        """`rows` float32 [n, d]."""
        return {"rows": memory.index.rows}

    def refill(self, memory: SimilarityMemory, state: Mapping[str, np.ndarray]) -> None:
        memory.index = self._index(state["rows"].shape[1])
        for row in state["rows"]:
            memory.index.append(row)
