"""PRADA (Juuti et al. 2019; paper §V-A): distances between an account's queries that are not normal."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from redhanded.detectors import checks
from redhanded.detectors.base import Arrays, Verdict, check_images
from redhanded.detectors.index import Growing
from redhanded.detectors.neighbours import BLOCK, History, Search
from redhanded.detectors.statistic import Evidence, StatisticDetector
from redhanded.errors import RedhandedError
from redhanded.types import FeatureArray, Float64, OutputArray


@dataclass
class GrowingSet:
    """The queries G_c of one class that were far from those before them."""

    members: History
    distances: Growing
    """Of each member to those before it; 0 for the first."""
    threshold: float = 0.0
    """T_c: a query that is farther joins."""


@dataclass
class PradaMemory:
    """One account's growing sets, in the order of their classes' first queries, and all queries' minima."""

    sets: dict[int, GrowingSet] = field(default_factory=dict)
    minima: Growing = field(default_factory=lambda: Growing(np.empty(0)))
    classes: Growing = field(default_factory=lambda: Growing(np.empty(0, np.int64)))
    """The class of each minimum."""
    queries: int = 0
    flags: int = 0
    banned: bool = False


@dataclass(frozen=True)
class PradaDetector(StatisticDetector[PradaMemory]):
    """Alarm when the distances between an account's queries of one class are not normally distributed.

    Each query is measured to the nearest member of its class's growing set, in pixels, and joins the set if
    that minimum exceeds T_c, which then becomes max(T_c, mean - std) of the distances at which members
    joined. The statistic is the W of Shapiro and Wilk over the minima of all classes, outliers dropped.

    Args:
        threshold: alarm at a W strictly below it. From `calibrate`; the released demo: 0.9.
        image_shape: (channels, height, width) of the images.
        every: the account's first query is tested, and every `every`th after it, as in the released code.
        least_per_class: a class with fewer minima is left out.
        outliers: minima this many standard deviations from the mean, or more, are dropped.
        least: no test unless more than this many minima remain.

    Source: Juuti et al., "PRADA: protecting against DNN model stealing attacks", 2019, and its released code,
    whose alarm a later test can take back; here it closes the account.
    """

    threshold: float
    image_shape: tuple[int, int, int] = (3, 32, 32)
    flags_to_ban: int = 1
    every: int = 10
    least_per_class: int = 10
    outliers: float = 3.0
    least: int = 100

    needs_outputs = True

    def __post_init__(self) -> None:
        checks.threshold(self.threshold, self.flags_to_ban)
        checks.least(1, every=self.every)
        checks.least(2, "W is of three distances or more", least=self.least)
        if not self.outliers > 0:
            raise RedhandedError(
                f"outliers: {self.outliers} must be positive; every distance would be dropped"
            )

    def features(self, images: np.ndarray) -> FeatureArray:
        """Return pixels [n, c h w] of images [n, c, h, w] in [0, 1]; raises `RedhandedError` for others."""
        images = check_images(images, self.image_shape)
        return images.reshape(len(images), int(np.prod(self.image_shape)))

    def new_memory(self) -> PradaMemory:
        return PradaMemory()

    def update(
        self, memory: PradaMemory, features: FeatureArray, outputs: OutputArray | None = None
    ) -> Verdict:
        """Judge pixels [n, d], each with its answer [n, classes]; raises `RedhandedError` without answers."""
        if outputs is None:
            raise RedhandedError("outputs: PRADA judges by the victim's answers; give them as well")
        return super().update(memory, features, outputs)

    def evidence(
        self, memory: PradaMemory, features: FeatureArray, outputs: OutputArray | None
    ) -> Iterator[Evidence]:
        assert outputs is not None
        for start in range(0, len(features), BLOCK):
            block, labels = features[start : start + BLOCK], outputs[start : start + BLOCK].argmax(axis=1)
            grown: dict[int, GrowingSet] = {}
            searches: dict[int, Search] = {}
            ranks = np.empty(len(block), np.int64)  # of each query among those of its class
            for label in np.unique(labels).tolist():
                of_class = labels == label
                ranks[of_class] = np.arange(of_class.sum())
                grown[label] = memory.sets.get(label) or self._empty()
                searches[label] = Search(grown[label].members, block[of_class])
            for label, rank in zip(labels.tolist(), ranks.tolist(), strict=True):
                # only now, for a ban may have ended the block before this class came
                memory.sets.setdefault(label, grown[label])
                self._remember(memory, label, searches[label], rank)
                tested = memory.queries % self.every == 0
                memory.queries += 1
                yield Evidence(self._statistic(memory) if tested else np.inf)

    def _empty(self) -> GrowingSet:
        return GrowingSet(History.empty(int(np.prod(self.image_shape))), Growing(np.empty(0)))

    def _remember(self, memory: PradaMemory, label: int, search: Search, rank: int) -> None:
        grown = memory.sets[label]
        if not len(grown.members):
            search.join(rank)
            grown.distances.append(0.0)
            return
        least = search.nearest(rank, 1)[1][0]
        memory.minima.append(least)
        memory.classes.append(label)
        if least > grown.threshold:
            search.join(rank)
            grown.distances.append(least)
            joined = grown.distances.rows
            grown.threshold = max(grown.threshold, float(joined.mean() - joined.std()))

    def _statistic(self, memory: PradaMemory) -> float:
        classes = memory.classes.rows
        pooled = memory.minima.rows[np.bincount(classes)[classes] >= self.least_per_class]
        if len(pooled) <= self.least:
            return np.inf
        kept = pooled[np.abs(pooled - pooled.mean()) < self.outliers * pooled.std()]
        if len(kept) <= self.least or np.ptp(kept) == 0:
            return np.inf
        return shapiro_w(kept)

    def arrays(self, memory: PradaMemory) -> Arrays:
        """Return the arrays of a memory.

        `rows` float32 [g, d] and `distances` float64 [g] are the members of the growing sets, set after set;
        `sets` int64 [c, 2] their classes and sizes, `thresholds` float64 [c]; `minima` float64 [m] and
        `classes` int64 [m].
        """
        grown = [*memory.sets.values(), self._empty()]
        sizes = [(label, len(one.members)) for label, one in memory.sets.items()]
        return {
            "rows": np.concatenate([one.members.features for one in grown]),
            "distances": np.concatenate([one.distances.rows for one in grown]),
            "sets": np.array(sizes, np.int64).reshape(-1, 2),
            "thresholds": np.array([one.threshold for one in memory.sets.values()], np.float64),
            "minima": memory.minima.rows,
            "classes": memory.classes.rows,
        }

    def refill(self, memory: PradaMemory, state: Mapping[str, np.ndarray]) -> None:
        at = 0
        for (label, size), threshold in zip(
            state["sets"].tolist(), state["thresholds"].tolist(), strict=True
        ):
            part = slice(at, at + size)
            members, measured = History(state["rows"][part]), Growing(state["distances"][part])
            memory.sets[label], at = GrowingSet(members, measured, threshold), at + size
        memory.minima, memory.classes = Growing(state["minima"]), Growing(state["classes"])


def shapiro_w(values: Float64[np.ndarray, " n"]) -> float:
    """Return the W of Shapiro and Wilk of values [n], n at least 3, not all equal."""
    from scipy.stats import shapiro  # takes longer to load than every other detector

    if len(values) <= 5_000:
        return float(shapiro(values).statistic)
    with warnings.catch_warnings():
        # beyond 5,000 values SciPy's p is not to be trusted; W is, and only W is used
        warnings.filterwarnings("ignore", message="scipy.stats.shapiro: For N > 5000")
        return float(shapiro(values).statistic)
