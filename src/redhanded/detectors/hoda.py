"""HODA: an account whose queries are harder, or easier, than honest ones (Sadeghzadeh et al.; paper §V-B)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from redhanded.detectors import checks
from redhanded.detectors.base import Arrays, Encoder, check_images
from redhanded.detectors.statistic import Evidence, StatisticDetector
from redhanded.errors import RedhandedError
from redhanded.types import FeatureArray, Float32, Float64, Int


@dataclass
class HodaMemory:
    """The hardness histogram of an account's unfinished window."""

    histogram: Int[np.ndarray, " degrees"]
    flags: int = 0
    banned: bool = False


@dataclass(frozen=True, eq=False)
class HodaDetector(StatisticDetector[HodaMemory]):
    """Compare the hardness histogram of every `window` queries with the honest one.

    A query's hardness is the first saved epoch of a model's training after which its prediction stays. The
    statistic is Pearson's correlation of the window's histogram with `benign`; the source's distance is 1
    minus it.

    Args:
        encoder: images to their hardness [n, 1]: places 0 to k - 1 among k saved epochs.
        benign: share of honest queries of each degree of hardness [k].
        threshold: alarm strictly below. From `calibrate`; source: the farthest of 40,000 benign windows.
        window: queries that are judged together; the next window begins empty.

    Source: Sadeghzadeh et al., "HODA: hardness-oriented detection of model extraction attacks", whose
    abstract and one port are all that could be read.
    """

    encoder: Encoder
    benign: Float64[np.ndarray, " degrees"]
    threshold: float
    window: int = 100
    flags_to_ban: int = 1

    def __post_init__(self) -> None:
        checks.threshold(self.threshold, self.flags_to_ban)
        checks.least(2, window=self.window)
        if self.benign.ndim != 1 or len(self.benign) < 2 or np.ptp(self.benign) == 0:
            raise RedhandedError(
                "benign: the histogram has fewer than two degrees, or all equally often; nothing correlates "
                "with it, so choose saved epochs that tell images apart"
            )

    def features(self, images: np.ndarray) -> FeatureArray:
        """Return the hardness [n, 1] of images [n, c, h, w] in [0, 1]; raises `RedhandedError` for others."""
        features = self.encoder(check_images(images))
        if features.shape[1] != 1 or (
            features.size and not 0 <= features.min() <= features.max() < len(self.benign)
        ):
            raise RedhandedError(
                f"encoder: it must give one hardness from 0 to {len(self.benign) - 1} an image; "
                "it does not belong to this histogram"
            )
        return features

    def fitted(self, features: FeatureArray) -> "HodaDetector":
        """Return the detector with `benign` from a benign stream's hardness [n, 1]."""
        return replace(self, benign=hardness_histogram(features, len(self.benign)))

    def new_memory(self) -> HodaMemory:
        return HodaMemory(np.zeros(len(self.benign), np.int64))

    def weigh(self, memory: HodaMemory, row: Float32[np.ndarray, " d"]) -> Evidence:
        memory.histogram[int(row[0])] += 1
        if memory.histogram.sum() < self.window:
            return Evidence(np.inf)
        score = correlation(memory.histogram, self.benign)
        memory.histogram[:] = 0
        return Evidence(score)

    def arrays(self, memory: HodaMemory) -> Arrays:
        """`histogram` int64 [k]."""
        return {"histogram": memory.histogram}

    def refill(self, memory: HodaMemory, state: Mapping[str, np.ndarray]) -> None:
        memory.histogram = state["histogram"].copy()


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's correlation of two histograms; 0 where one is flat."""
    one, other = one - one.mean(), other - other.mean()
    scale = float(np.sqrt(np.square(one).sum() * np.square(other).sum()))
    return float((one * other).sum()) / scale if scale else 0.0


def hardness_histogram(hardness: FeatureArray, degrees: int) -> Float64[np.ndarray, " degrees"]:
    """Share of a benign stream's queries [n, 1] of each degree of hardness."""
    counts = np.bincount(hardness[:, 0].astype(np.int64), minlength=degrees)
    return np.asarray(counts / max(counts.sum(), 1))
