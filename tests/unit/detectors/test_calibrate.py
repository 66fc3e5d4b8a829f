"""A threshold for any detector: replays equal the detector's own verdicts, and the target is kept."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redhanded.detectors.base import Verdict
from redhanded.detectors.calibrate import StatisticCalibration, Sweep, calibrate
from redhanded.detectors.hoda import HodaDetector
from redhanded.detectors.likelihood import LikelihoodDetector
from redhanded.detectors.outliers import OutlierDetector
from redhanded.detectors.pairs import calibrate_pairs, calibrate_similarity
from redhanded.detectors.similarity import SimilarityDetector
from redhanded.detectors.statistic import Evidence, judge
from redhanded.errors import RedhandedError
from redhanded.types import FeatureArray, ImageArray, OutputArray


class Pixel:
    """Gives the first pixel."""

    digest = "pixel"

    def __call__(self, images: ImageArray) -> FeatureArray:
        return images[:, 0, 0, :1].copy()


@dataclass
class Sum:
    total: float = 0.0
    count: int = 0
    flags: int = 0
    banned: bool = False


@dataclass(frozen=True)
class RunningMean:
    """Alarms where the mean since the account was opened falls below its threshold."""

    threshold: float
    flags_to_ban: int = 1
    needs_outputs = False
    scope = "account"

    def features(self, images: np.ndarray) -> FeatureArray:
        return Pixel()(images)

    def new_memory(self) -> Sum:
        return Sum()

    def update(self, memory: Sum, features: FeatureArray, outputs: OutputArray | None = None) -> Verdict:
        def judged():
            for row in features:
                memory.total += float(row[0])
                memory.count += 1
                yield Evidence(memory.total / memory.count if memory.count >= 5 else np.inf)

        return judge(memory, judged(), self.threshold, self.flags_to_ban)

    def dump(self, memory: Sum):
        return {}

    def restore(self, state):
        return Sum()


def literal(detector, features: FeatureArray) -> tuple[list[int], list[int]]:
    """Flags and bans of one honest user, query by query."""
    memory, counts, bans = detector.new_memory(), [], []
    for place in range(len(features)):
        verdict = detector.update(memory, features[place : place + 1])
        counts.append(int(verdict.counts[0]))
        if verdict.banned_at is not None:
            bans.append(place)
            memory = detector.new_memory()
    return counts, bans


HONEST = np.array([0.1, 0.5, 0.3, 0.1])
DETECTORS = [
    RunningMean(-np.inf),
    RunningMean(-np.inf, flags_to_ban=3),
    OutlierDetector(Pixel(), -np.inf, flags_to_ban=4),
    HodaDetector(Pixel(), HONEST, -np.inf, window=7),
]


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda d: f"{type(d).__name__}-{d.flags_to_ban}")
@settings(derandomize=True, deadline=None, max_examples=12)
@given(seed=st.integers(0, 10**6), length=st.integers(0, 1300), cut=st.floats(0, 1))
def test_a_replay_is_the_detectors_own_verdict(detector, seed: int, length: int, cut: float) -> None:
    drawn = np.random.default_rng(seed).integers(0, 4, (length, 1)).astype(np.float32)
    sweep = Sweep(detector, drawn)
    reached = np.unique(sweep.scores(0))
    reached = reached[np.isfinite(reached)]
    threshold = float(np.quantile(reached, cut)) if len(reached) else 0.0
    counts, bans = literal(replace(detector, threshold=threshold), drawn)
    for _ in range(2):  # what is remembered of the first replay changes nothing
        found = sweep.replay(threshold)
        assert found.counts.tolist() == counts
        assert found.bans.tolist() == bans
    stopped = sweep.replay(threshold, most=0)
    assert (stopped.flags > 0) == (sum(counts) > 0)


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda d: f"{type(d).__name__}-{d.flags_to_ban}")
def test_calibration_keeps_its_target_and_could_not_be_looser(detector) -> None:
    rng = np.random.default_rng(3)
    stream = rng.choice(4, (3_000, 1), p=HONEST).astype(np.float32)
    if isinstance(detector, OutlierDetector | RunningMean):
        stream = rng.normal(size=(3_000, 1)).astype(np.float32)
    tuned, found = calibrate(detector, stream, fpr=1e-3)
    assert isinstance(found, StatisticCalibration)
    counts, bans = literal(tuned, stream)
    assert (sum(counts), len(bans)) == (found.flags, found.bans)
    assert sum(counts) <= 3 * detector.flags_to_ban
    assert found.fpr == len(bans) / 3_000
    assert found.fpr_low <= found.fpr <= found.fpr_high
    scores = np.unique(Sweep(detector, stream).scores(0))
    looser = scores[np.isfinite(scores) & (scores > tuned.threshold)][1]
    assert sum(literal(replace(detector, threshold=float(looser)), stream)[0]) > 3 * detector.flags_to_ban


def test_the_similarity_detector_is_tuned_as_before() -> None:
    features = np.random.default_rng(0).normal(size=(4_000, 6)).astype(np.float32)
    tuned, found = calibrate(SimilarityDetector(Pixel(), 1.0, flags_to_ban=10), features, fpr=1e-3)
    expected, pairs = calibrate_similarity(features, fpr=1e-3, flags_to_ban=10)
    assert found == expected
    assert tuned.delta == expected.delta
    assert calibrate_pairs(pairs, fpr=1e-3, flags_to_ban=10) == expected
    # another target from the same pairs, without another search
    assert (
        calibrate_pairs(pairs, fpr=5e-4, flags_to_ban=10)
        == calibrate_similarity(features, fpr=5e-4, flags_to_ban=10)[0]
    )
    with pytest.raises(RedhandedError, match=r"^fpr: 0.01 needs pairs beyond [^\n]+$"):
        calibrate_pairs(pairs, fpr=0.01, flags_to_ban=10)


def test_streams_that_cannot_tune_are_refused_in_one_line() -> None:
    few = np.zeros((50, 1), np.float32)
    with pytest.raises(
        RedhandedError, match=r"^fpr: 0.0001 cannot be resolved by 50 benign images[^\n]+10,000"
    ):
        calibrate(RunningMean(-np.inf), few)
    with pytest.raises(RedhandedError, match=r"^fpr: [^\n]+ 0 benign images"):
        calibrate(RunningMean(-np.inf), few[:0])
    with pytest.raises(RedhandedError, match=r"^stream: 4 benign images are too few for the statistic"):
        calibrate(RunningMean(-np.inf), few[:4], fpr=0.25)


def test_a_detector_that_judges_by_answers_must_be_given_them() -> None:
    @dataclass(frozen=True)
    class Asks(RunningMean):
        needs_outputs = True

    with pytest.raises(RedhandedError, match=r"^outputs: Asks judges by the victim's answers"):
        calibrate(Asks(-np.inf), np.zeros((100, 1), np.float32), fpr=0.01)


def test_what_is_fitted_is_fitted_to_the_own_images() -> None:
    features = np.random.default_rng(1).normal(size=(400, 1)).astype(np.float32)
    features[100:] += 5
    untuned = LikelihoodDetector(Pixel(), 0.0, -np.inf)
    tuned, _ = calibrate(untuned, features, fpr=0.01, own=features[:100])
    assert tuned.alpha == pytest.approx(float(features[:100].mean()), abs=1e-5)
    for own in (None, features, features[:0]):  # without images of the victim's kind it stays as it was
        expected = 0.0 if own is not None and not len(own) else float(features.mean())
        assert calibrate(untuned, features, fpr=0.01, own=own)[0].alpha == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("quota", [1, 50])
def test_a_stream_may_earn_exactly_the_flags_of_as_many_quotas_as_its_bans(quota: int) -> None:
    """20,000 queries at one ban in 10,000: two quotas of flags, not one flag fewer."""
    stream = np.random.default_rng(0).permutation(20_000).astype(np.float32)[:, None]
    tuned, found = calibrate(OutlierDetector(Pixel(), -np.inf, flags_to_ban=quota), stream)
    assert isinstance(found, StatisticCalibration)
    assert (tuned.threshold, found.flags, found.bans) == (2 * quota - 0.5, 2 * quota, 2)


@pytest.mark.parametrize("quota", [1, 50])
def test_the_similarity_detector_may_earn_exactly_as_many(quota: int) -> None:
    """10,000 pairs at the distances 1 to 10,000, each far from all others."""
    stream = np.zeros((20_000, 2), np.float32)
    stream[:, 0] = np.arange(20_000) // 2 * 2**15
    stream[1::2, 1] = np.random.default_rng(0).permutation(10_000) + 1
    tuned, found = calibrate(SimilarityDetector(Pixel(), 1.0, flags_to_ban=quota), stream)
    assert (found.flags, found.bans) == (2 * quota, 2)
    assert tuned.delta == 2 * quota + 0.5
