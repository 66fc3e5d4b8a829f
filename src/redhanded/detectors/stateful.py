"""The Stateful Detector (Chen, Carlini and Wagner 2019; paper §V-D): mean distance to the nearest queries."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from redhanded.detectors import checks
from redhanded.detectors.base import Arrays, Encoder, check_images
from redhanded.detectors.neighbours import BLOCK, History, Search
from redhanded.detectors.statistic import Evidence, StatisticDetector
from redhanded.types import FeatureArray, OutputArray


@dataclass
class StatefulMemory:
    """One account's history since it was opened (or since the capacity wiped it)."""

    history: History = field(default_factory=lambda: History.empty(0))
    offset: int = 0
    """Queries forgotten by capacity wipes: place in the account's log minus place in the history."""
    flags: int = 0
    banned: bool = False


@dataclass(frozen=True)
class StatefulDetector(StatisticDetector[StatefulMemory]):
    """Alarm at a query whose `neighbours` nearest earlier queries of the account are near on average.

    The statistic is the mean Euclidean distance to them; until the account has sent that many, there is none.

    Args:
        encoder: what embeds the images; the pixels themselves make it the source's L2 detector.
        threshold: alarm strictly below. From `calibrate`; the source's, 1.44 with its encoder and 5.069 on
            pixels, are the 0.1th percentile over training images, each one's distance 0 to itself included.
        neighbours: how many are averaged (source: 50); the source bans at the first alarm.
        capacity: wipe the history, without an alarm, when it holds this many queries. None never forgets.

    Source: Chen, Carlini and Wagner, "Stateful detection of black-box adversarial attacks", and its code.
    """

    encoder: Encoder
    threshold: float
    neighbours: int = 50
    flags_to_ban: int = 1
    capacity: int | None = None

    def __post_init__(self) -> None:
        checks.threshold(self.threshold, self.flags_to_ban)
        checks.least(1, neighbours=self.neighbours)
        rule = f"more than the {self.neighbours} neighbours"
        checks.capacity(self.capacity, self.neighbours + 1, rule)

    def features(self, images: np.ndarray) -> FeatureArray:
        return self.encoder(check_images(images))

    def new_memory(self) -> StatefulMemory:
        return StatefulMemory()

    def evidence(
        self, memory: StatefulMemory, features: FeatureArray, outputs: OutputArray | None
    ) -> Iterator[Evidence]:
        del outputs
        at = 0
        while at < len(features):
            if not len(memory.history):
                memory.history = History.empty(features.shape[1])
            # a wipe falls on the end of a block
            room = BLOCK if self.capacity is None else min(BLOCK, self.capacity - len(memory.history))
            block = features[at : at + room]
            at += len(block)
            search = Search(memory.history, block)
            for place in range(len(block)):
                found = Evidence(np.inf)
                if len(memory.history) >= self.neighbours:
                    places, measured = search.nearest(place, self.neighbours)
                    found = Evidence(float(measured.mean()), memory.offset + int(places[0]))
                search.join(place)
                if len(memory.history) == self.capacity:
                    memory.offset += self.capacity
                    memory.history = History.empty(features.shape[1])
                yield found

    def arrays(self, memory: StatefulMemory) -> Arrays:
        """`rows` float32 [n, d]."""
        return {"rows": memory.history.features}

    def refill(self, memory: StatefulMemory, state: Mapping[str, np.ndarray]) -> None:
        memory.history = History(state["rows"])
