"""The VAE detector (paper §VI-B): an account whose queries are, on average, less likely than honest ones."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from redhanded.detectors import checks
from redhanded.detectors.base import Encoder, check_images
from redhanded.detectors.statistic import Evidence, StatisticDetector
from redhanded.errors import RedhandedError
from redhanded.types import FeatureArray, Float32

Spread = Literal["running", "error"]
Sides = Literal["one", "two"]


@dataclass
class LikelihoodMemory:
    """Running sums of one account's log-likelihoods l since it was opened (or since the capacity wiped it).

    `centre` and `squares` are the mean and the sum of squared deviations (Welford 1962) of what the spread
    is of: the running means, or l.
    """

    queries: int = 0
    total: float = 0.0
    centre: float = 0.0
    squares: float = 0.0
    flags: int = 0
    banned: bool = False


@dataclass(frozen=True)
class LikelihoodDetector(StatisticDetector[LikelihoodMemory]):
    """Alarm when an account's mean log-likelihood lies below `alpha` by more than beta times its spread.

    With l the log-likelihood of each query, A_t the mean of the account's first t and s_t its spread, the
    rule is A_t + beta s_t < alpha. The statistic is (A_t - alpha) / s_t, and `threshold` is -beta. Where
    s_t = 0 (one image repeated), it is -inf if A_t < alpha and inf otherwise, so that every threshold decides
    as the rule.

    Args:
        encoder: images to their log-likelihood [n, 1].
        alpha: mean log-likelihood of benign queries, from `mean_likelihood`. The paper's: -1.2986.
        threshold: -beta; strict. From `calibrate`. The paper's beta, 0.3763, and alpha are its own VQ-VAE's.
        warmup: the first test is at this query of the account (paper §VIII-B: 50).
        spread: "running" is the population standard deviation of A_1, ..., A_t (the released code); "error"
            is the standard error of A_t, the sample standard deviation of l over sqrt(t). The paper's
            "sample standard deviation of this value" names either.
        sides: "one" alarms below alpha (the paper), "two" on both sides, at |A_t - alpha| > beta s_t (the
            released code); its statistic is -|A_t - alpha| / s_t.
        capacity: forget all queries, without an alarm, when there are this many (the released code:
            100,000); None never forgets.

    Source: paper §VI-B, §VIII-B and the authors' released ELBO detector; the one they tested was not pushed.
    """

    encoder: Encoder
    alpha: float
    threshold: float
    warmup: int = 50
    spread: Spread = "running"
    sides: Sides = "one"
    flags_to_ban: int = 1
    capacity: int | None = None

    def __post_init__(self) -> None:
        checks.threshold(self.threshold, self.flags_to_ban)
        if not np.isfinite(self.alpha):
            raise RedhandedError(f"alpha: {self.alpha} is not finite; take it from `mean_likelihood`")
        checks.least(2, "one query has no spread", warmup=self.warmup)
        checks.choice(get_args(Spread), spread=self.spread)
        checks.choice(get_args(Sides), sides=self.sides)
        checks.capacity(self.capacity, self.warmup, f"at least the warm-up of {self.warmup}")

    def features(self, images: np.ndarray) -> FeatureArray:
        """Return log-likelihoods [n, 1] of images in [0, 1]; `RedhandedError` for others, or if infinite."""
        features = checks.one_each(self.encoder(check_images(images)), "likelihood", "the log-likelihood")
        if not np.isfinite(features).all():
            raise RedhandedError("encoder: log-likelihoods are not finite; its weights are damaged")
        return features

    def fitted(self, features: FeatureArray) -> "LikelihoodDetector":
        """Return the detector with `alpha` of a benign stream [n, 1]."""
        return replace(self, alpha=mean_likelihood(features))

    def new_memory(self) -> LikelihoodMemory:
        return LikelihoodMemory()

    def weigh(self, memory: LikelihoodMemory, row: Float32[np.ndarray, " d"]) -> Evidence:
        likelihood = float(row[0])
        if memory.queries == self.capacity:  # before the next query, so that a full memory can be judged
            memory.queries, memory.total, memory.centre, memory.squares = 0, 0.0, 0.0, 0.0
        memory.queries += 1
        # float64 adds equal float32 numbers without rounding: repeating one image spreads exactly 0
        memory.total += likelihood
        mean = memory.total / memory.queries
        value = mean if self.spread == "running" else likelihood
        off = value - memory.centre
        memory.centre += off / memory.queries
        memory.squares += off * (value - memory.centre)
        return Evidence(self._statistic(memory, mean))

    def _statistic(self, memory: LikelihoodMemory, mean: float) -> float:
        t = memory.queries
        if t < self.warmup:
            return np.inf
        variance = memory.squares / (t if self.spread == "running" else t * (t - 1))
        below = mean - self.alpha if self.sides == "one" else -abs(mean - self.alpha)
        if variance == 0:
            return -np.inf if below < 0 else np.inf
        return float(below / np.sqrt(variance))


def mean_likelihood(features: FeatureArray) -> float:
    """Return `alpha`: a benign stream's [n, 1] mean (paper §VIII-B); raises `RedhandedError` if empty."""
    if not len(features):
        raise RedhandedError("stream: it is empty; give benign images to estimate alpha from")
    return float(features[:, 0].mean(dtype=np.float64))


def auroc(inside: Float32[np.ndarray, "n 1"], outside: Float32[np.ndarray, "m 1"]) -> float:
    """Return how often an image of `inside` is likelier than one of `outside`; ties count half.

    The area under the ROC curve of the likelihood as an out-of-distribution score (proposed in paper
    §VIII-B): 0.5 tells nothing apart. Raises `RedhandedError` for an empty set.
    """
    for name, features in (("inside", inside), ("outside", outside)):
        if not len(features):
            raise RedhandedError(f"{name}: there are no images; give at least one")
    ranked = np.sort(outside[:, 0])
    beaten = [ranked.searchsorted(inside[:, 0], side) for side in ("left", "right")]
    return float(np.mean(beaten)) / len(ranked)
