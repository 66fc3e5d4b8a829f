"""The Stateful Detector (Chen, Carlini and Wagner 2019; paper §V-D): mean distance to the nearest queries."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from redhanded.detectors.base import Arrays, Encoder, Scope, Verdict, check_images
from redhanded.detectors.neighbours import BLOCK, History, Search
from redhanded.detectors.statistic import Judged, check_threshold, judge
from redhanded.errors import RedhandedError
from redhanded.types import FeatureArray, OutputArray


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
