"""An out-of-distribution classifier as a detector (after Atli et al. 2020; paper §V-B)."""

from dataclasses import dataclass

import numpy as np

from redhanded.detectors import checks
from redhanded.detectors.base import Encoder, check_images
from redhanded.detectors.statistic import Evidence, StatisticDetector
from redhanded.types import FeatureArray, Float32


@dataclass
class OutlierMemory:
    flags: int = 0
    banned: bool = False


@dataclass(frozen=True)
class OutlierDetector(StatisticDetector[OutlierMemory]):
    """Flag a query that a binary classifier finds unlikely to be of the victim's distribution.

    Args:
        encoder: images to their log-odds of being in-distribution [n, 1].
        threshold: log-odds below which (strictly) a query is flagged. From `calibrate`.
        flags_to_ban: the similarity detector's (paper §VIII-A); the source judges each query alone.

    Source: Atli et al., "Extraction of complex DNN models: real threat or boogeyman?", 2020.
    """

    encoder: Encoder
    threshold: float
    flags_to_ban: int = 50

    def __post_init__(self) -> None:
        checks.threshold(self.threshold, self.flags_to_ban)

    def features(self, images: np.ndarray) -> FeatureArray:
        """Return log-odds [n, 1] of images [n, c, h, w] in [0, 1]; raises `RedhandedError` for others."""
        what = "the log-odds of being in-distribution"
        return checks.one_each(self.encoder(check_images(images)), "outlier", what)

    def new_memory(self) -> OutlierMemory:
        return OutlierMemory()

    def weigh(self, memory: OutlierMemory, row: Float32[np.ndarray, " d"]) -> Evidence:
        del memory
        return Evidence(float(row[0]))
