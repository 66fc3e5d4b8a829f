"""Any detector's threshold from one benign stream: its own fold, replayed at other thresholds."""

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from redhanded.detectors.base import Detector
from redhanded.detectors.index import principal_axes
from redhanded.detectors.intervals import Replay, last_within, rates
from redhanded.detectors.pairs import FPR, Calibration, allowed_flags, calibrate_similarity
from redhanded.detectors.similarity import SimilarityDetector
from redhanded.errors import RedhandedError
from redhanded.types import FeatureArray, Float32, Float64, OutputArray

CHUNK = 512
"""Queries folded at once."""
UNFINISHED = 4
"""Folds that are kept with their memories, so that they can go on; PRADA's hold every query."""


D = TypeVar("D", bound=Detector[Any])
"""A frozen dataclass with the fields `threshold`, below which its statistic alarms, and `flags_to_ban`; or
the similarity detector."""


@dataclass(frozen=True)
class StatisticCalibration:
    """A threshold and where it came from; rates are per benign query of the stream that tuned it."""

    threshold: float
    target: float
    flags_to_ban: int
    length: int
    flags: int
    bans: int
    flag_rate: float
    flag_rate_low: float
    flag_rate_high: float
    fpr: float
    fpr_low: float
    fpr_high: float


@runtime_checkable
class Fitted(Protocol):
    """A detector that takes more than its threshold from the benign stream."""

    def fitted(self, features: FeatureArray) -> "Fitted": ...


def calibrate(
    detector: D,
    features: FeatureArray,
    outputs: OutputArray | None = None,
    *,
    fpr: float = FPR,
    own: Float32[np.ndarray, "own d"] | None = None,
) -> tuple[D, Calibration | StatisticCalibration]:
    """Return the detector with the loosest threshold that bans a benign stream at most `fpr` times a query.

    The stream is one honest user whose account is replaced at bans: features [n, d] from one pass of
    `detector.features`, and the victim's answers [n, classes] for a detector that judges by them. The rule
    is on flags: at most `fpr * n * flags_to_ban`. What is fitted besides the threshold is fitted to `own`,
    features of the victim's own kind, or else to the whole stream. Raises `RedhandedError` for a stream that
    is too short to resolve `fpr`, or holds nothing that can be told apart.
    """
    untuned: Any = detector
    if isinstance(untuned, SimilarityDetector):
        found, _ = calibrate_similarity(
            features, fpr=fpr, count=untuned.count, flags_to_ban=untuned.flags_to_ban
        )
        tuned: Any = replace(untuned, delta=found.delta, axes=principal_axes(features))
        return tuned, found
    kin = features if own is None else own
    if isinstance(untuned, Fitted) and len(kin):
        untuned = untuned.fitted(kin)
    return _calibrate_statistic(untuned, features, outputs, fpr)


def _calibrate_statistic(
    detector: Any, features: FeatureArray, outputs: OutputArray | None, fpr: float
) -> tuple[Any, StatisticCalibration]:
    allowed = allowed_flags(len(features), fpr=fpr, count="queries", flags_to_ban=detector.flags_to_ban)
    sweep = Sweep(detector, features, outputs)
    steps = np.unique(sweep.scores(0))
    steps = steps[np.isfinite(steps)]
    if len(steps) == 0:
        raise RedhandedError(
            f"stream: {len(features):,} benign images are too few for the statistic of "
            f"{type(detector).__name__}, or all alike; give more and different ones"
        )

    def flags(threshold: float) -> int:
        return sweep.replay(threshold, allowed).flags

    if flags(float(steps[0])) > allowed:  # a statistic of -inf alarms at any threshold
        raise RedhandedError(
            f"fpr: {fpr:g} is out of reach: too many benign images in a row are alike; remove duplicates "
            "from the stream, or send it in random order"
        )
    low = last_within(steps, flags, allowed)
    threshold = float(steps[low])
    if low:  # halfway between two values that occur, so that no rounding can tip one over the threshold
        halfway = float((steps[low - 1] + steps[low]) / 2)
        if steps[low - 1] < halfway and flags(halfway) <= allowed:
            threshold = halfway
    chosen, quota = sweep.replay(threshold), detector.flags_to_ban
    found = rates(chosen, quota)
    return replace(detector, threshold=threshold), StatisticCalibration(
        threshold, fpr, quota, len(features), chosen.flags, len(chosen.bans), **found
    )


@dataclass
class _Fold:
    memory: Any
    at: int
    parts: list[Float64[np.ndarray, " k"]]


class Sweep:
    """A benign stream before one detector at many thresholds.

    The statistic depends on the threshold only through bans, after which it begins anew. So `update` folds
    it once from the stream's start without any ban, and again from each query at which some threshold bans.
    """

    def __init__(self, detector: Any, features: FeatureArray, outputs: OutputArray | None = None) -> None:
        if detector.needs_outputs and outputs is None:
            raise RedhandedError(
                f"outputs: {type(detector).__name__} judges by the victim's answers; give them as well"
            )
        self._never = replace(detector, threshold=-np.inf)
        self._features, self._outputs = features, outputs
        self._folds: OrderedDict[int, _Fold] = OrderedDict()

    def scores(self, start: int, stop: int | None = None) -> Float64[np.ndarray, " k"]:
        """Return the statistic of queries `start` to `stop` for an account opened at `start`."""
        stop = len(self._features) if stop is None else stop
        fold = self._folds.pop(start, None) or _Fold(self._never.new_memory(), start, [])
        while fold.at < stop:
            rows = slice(fold.at, min(fold.at + CHUNK, len(self._features)))
            outputs = None if self._outputs is None else self._outputs[rows]
            fold.parts.append(self._never.update(fold.memory, self._features[rows], outputs).scores)
            fold.at = rows.stop
        if fold.at == len(self._features):
            fold.memory = None
        self._folds[start] = fold  # the last one asked for is the last to go
        unfinished = [place for place, kept in self._folds.items() if kept.memory is not None]
        for place in unfinished[:-UNFINISHED]:
            del self._folds[place]
        return np.concatenate([*fold.parts, np.empty(0)])[: stop - start]

    def replay(self, threshold: float, most: int | None = None) -> Replay:
        """Judge the stream at a threshold; may stop once there are more than `most` flags."""
        n, per_ban = len(self._features), self._never.flags_to_ban
        if self._never.scope == "global":  # the memory outlives bans
            counts = (self.scores(0) < threshold).astype(np.int64)
            return Replay(counts, np.flatnonzero(counts)[per_ban - 1 :: per_ban])
        counts, start = np.zeros(n, np.int64), 0
        bans: list[int] = []
        while start < n and (most is None or counts.sum() <= most):
            alarms, stop = np.empty(0, np.int64), start
            while len(alarms) < per_ban and stop < n:
                stop = min(stop + CHUNK, n)
                alarms = np.flatnonzero(self.scores(start, stop) < threshold)
            closing = alarms[:per_ban] + start
            counts[closing] = 1
            if len(closing) < per_ban:
                break
            bans.append(int(closing[-1]))
            start = bans[-1] + 1
        return Replay(counts, np.array(bans, np.int64))
