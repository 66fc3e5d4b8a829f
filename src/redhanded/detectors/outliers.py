"""An out-of-distribution classifier as a detector (after Atli et al. 2020; paper §V-B)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from redhanded.detectors.base import Arrays, Encoder, Scope, Verdict, check_images
from redhanded.detectors.statistic import Judged, check_threshold, judge
from redhanded.errors import RedhandedError
from redhanded.types import FeatureArray, OutputArray


@dataclass
class OutlierMemory:
    """How often an account was flagged."""

    flags: int = 0
    banned: bool = False


@dataclass(frozen=True)
class OutlierDetector:
    """Flag a query that a binary classifier finds unlikely to be of the victim's distribution.

    Args:
        encoder: images to their log-odds of being in-distribution [n, 1].
        threshold: log-odds below which (strictly) a query is flagged. From `calibrate`.
        flags_to_ban: the account is closed when its flags reach this; the source judges each query alone,
            the quota is the similarity detector's (paper §VIII-A).

    Source: Atli et al., "Extraction of complex DNN models: real threat or boogeyman?", 2020.
    """

    encoder: Encoder
    threshold: float
    flags_to_ban: int = 50

    needs_outputs = False
    scope: ClassVar[Scope] = "account"

    def __post_init__(self) -> None:
        """Reject settings that could never judge."""
        check_threshold(self.threshold, self.flags_to_ban)

    def features(self, images: np.ndarray) -> FeatureArray:
        """Return log-odds [n, 1] of images [n, c, h, w] in [0, 1]; raises `RedhandedError` for others."""
        features = self.encoder(check_images(images))
        if features.shape[1] != 1:
            raise RedhandedError(
                f"encoder: it gives {features.shape[1]} features an image; the outlier detector takes one, "
                "the log-odds of being in-distribution"
            )
        return features

    def new_memory(self) -> OutlierMemory:
        """Return the memory of an account that has sent nothing."""
        return OutlierMemory()

    def update(
        self, memory: OutlierMemory, features: FeatureArray, outputs: OutputArray | None = None
    ) -> Verdict:
        """Judge log-odds [n, 1] one after the other; `outputs` are not needed."""
        del outputs
        queries = (Judged(float(row[0])) for row in features)
        return judge(memory, queries, self.threshold, self.flags_to_ban)

    def dump(self, memory: OutlierMemory) -> Arrays:
        """Return the memory as one array: `state` int64 [2]."""
        return {"state": np.array([memory.flags, memory.banned], np.int64)}

    def restore(self, state: Mapping[str, np.ndarray]) -> OutlierMemory:
        """Return the memory that `dump` wrote."""
        flags, banned = state["state"].tolist()
        return OutlierMemory(flags, bool(banned))
