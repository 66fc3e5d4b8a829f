"""The likelihood detector against its definition."""

import statistics
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from redhanded.detectors.base import Detector, Encoder, Verdict
from redhanded.detectors.likelihood import LikelihoodDetector, auroc, mean_likelihood
from redhanded.errors import RedhandedError
from redhanded.types import FeatureArray, ImageArray

DETERMINISTIC = settings(derandomize=True, deadline=None, max_examples=80)
RULES = pytest.mark.parametrize("sides", ["one", "two"])
SPREADS = pytest.mark.parametrize("spread", ["running", "error"])
LIKELIHOODS = st.lists(st.floats(-3, 0, width=16), max_size=40)


@dataclass(frozen=True)
class FirstPixels:
    """The first pixels, times a scale; only `features` needs an encoder."""

    scale: float = -1.0
    count: int = 1
    digest = "first"

    def __call__(self, images: ImageArray) -> FeatureArray:
        flat = images.reshape(len(images), images[0].size if len(images) else 1)[:, : self.count]
        return (flat.astype(np.float64) * self.scale).astype(np.float32)


def detector_of(alpha: float = -1.0, threshold: float = -1.0, **given: Any) -> LikelihoodDetector:
    return LikelihoodDetector(FirstPixels(), alpha, threshold, **given)


def column(*likelihoods: float) -> FeatureArray:
    return np.array(likelihoods, np.float32).reshape(-1, 1)


def fold(detector: LikelihoodDetector, likelihoods: FeatureArray) -> Verdict:
    return detector.update(detector.new_memory(), likelihoods)


def definition(detector: LikelihoodDetector, likelihoods: list[float]) -> tuple[list[float], list[bool]]:
    """Spread and alarm of every query, each computed anew from all before it; until the closing alarm."""
    spreads, alarms, opened = [], [], 0
    for place in range(len(likelihoods)):
        if detector.capacity is not None and place - opened == detector.capacity:
            opened = place
        seen = likelihoods[opened : place + 1]
        means = [statistics.fmean(seen[: k + 1]) for k in range(len(seen))]
        spread = np.nan
        if len(seen) >= 2:
            error = statistics.stdev(seen) / len(seen) ** 0.5
            spread = statistics.pstdev(means) if detector.spread == "running" else error
        beta, off = -detector.threshold, means[-1] - detector.alpha
        if detector.sides == "one":
            alarm = means[-1] + beta * spread < detector.alpha
        else:
            alarm = abs(off) > beta * spread
        alarms.append(bool(alarm) and len(seen) >= detector.warmup)
        spreads.append(spread if len(seen) >= detector.warmup else np.nan)
        if sum(alarms) >= detector.flags_to_ban:
            break
    return spreads, alarms


@RULES
@SPREADS
@DETERMINISTIC
@given(
    likelihoods=LIKELIHOODS,
    alpha=st.floats(-3, 0).map(lambda alpha: alpha + 1e-3),  # no float16 mean lies on it
    beta=st.floats(0.01, 3),
    warmup=st.integers(2, 12),
    flags=st.integers(1, 4),
    room=st.none() | st.integers(0, 10),
)
def test_judges_by_the_definition(
    spread: Any,
    sides: Any,
    likelihoods: list[float],
    alpha: float,
    beta: float,
    warmup: int,
    flags: int,
    room: int | None,
) -> None:
    capacity = None if room is None else warmup + room
    detector = detector_of(
        alpha, -beta, warmup=warmup, spread=spread, sides=sides, flags_to_ban=flags, capacity=capacity
    )
    spreads, alarms = definition(detector, likelihoods)
    verdict = fold(detector, column(*likelihoods))
    # at a tie, within the rounding of either side, any answer will do
    tested = np.isfinite(verdict.scores)
    if np.isclose(verdict.scores[tested], -beta, rtol=1e-6, atol=1e-9).any():
        return
    np.testing.assert_array_equal(verdict.counts, alarms)
    assert verdict.banned_at == (len(alarms) - 1 if sum(alarms) >= flags else None)
    assert np.isposinf(verdict.scores[np.isnan(spreads)]).all()
    assert (verdict.nearest == -1).all()


def test_a_hand_computed_account() -> None:
    """l = -1, -3, -2: means -1, -2, -2; their deviations 0, 1/2 and sqrt(2)/3; alpha -1."""
    likelihoods = column(-1, -3, -2)
    running = detector_of(-1.0, -np.inf, warmup=2)
    np.testing.assert_allclose(fold(running, likelihoods).scores, [np.inf, -2, -3 / 2**0.5])
    # standard errors: of -1, -3 sqrt(2)/sqrt(2) = 1; of all three 1/sqrt(3)
    error = replace(running, spread="error")
    np.testing.assert_allclose(fold(error, likelihoods).scores, [np.inf, -1, -(3**0.5)])
    # beta 2: -2 + 2/2 = -1 is not below alpha (strict), -2 + 2 sqrt(2)/3 = -1.06 is
    closing = fold(replace(running, threshold=-2.0), likelihoods)
    assert (closing.counts.tolist(), closing.banned_at) == ([0, 0, 1], 2)
    # two-sided, alpha -3: one-sided means lie above it
    above = replace(running, alpha=-3.0)
    np.testing.assert_allclose(fold(above, likelihoods).scores, [np.inf, 2, 3 / 2**0.5])
    np.testing.assert_allclose(
        fold(replace(above, sides="two"), likelihoods).scores, [np.inf, -2, -3 / 2**0.5]
    )


def test_the_defaults_are_the_papers_and_the_first_test_is_at_the_fiftieth_query() -> None:
    detector = detector_of(-1.0, -0.3763033370971679)
    assert (detector.warmup, detector.spread, detector.sides) == (50, "running", "one")
    assert (detector.flags_to_ban, detector.capacity) == (1, None)
    assert (detector.needs_outputs, detector.scope) == (False, "account")
    assert isinstance(detector, Detector)
    assert isinstance(detector.encoder, Encoder)
    unlikely = np.random.default_rng(0).normal(-5, 1, (60, 1)).astype(np.float32)
    verdict = fold(detector, unlikely)
    assert verdict.banned_at == 49
    assert np.isposinf(verdict.scores[:49]).all()


@SPREADS
@pytest.mark.parametrize(
    ("sides", "alpha", "score"),
    [("one", 0.0, -np.inf), ("one", -0.2, np.inf), ("two", 0.0, -np.inf), ("two", -0.2, -np.inf)],
)
def test_a_repeated_image_has_no_spread(spread: Any, sides: Any, alpha: float, score: float) -> None:
    """-0.1 is no binary fraction: without spread the rule is A < alpha (two-sided: A != alpha)."""
    for threshold in (-1e9, -1.0, 0.0):
        detector = detector_of(alpha, threshold, warmup=2, spread=spread, sides=sides, flags_to_ban=10**6)
        verdict = fold(detector, np.full((3000, 1), -0.1, np.float32))
        assert (verdict.scores[1:] == score).all()
        assert verdict.flags == (2999 if score < 0 else 0)
    never = fold(detector_of(alpha, -np.inf, warmup=2, sides=sides), column(-0.1, -0.1, -0.1))
    assert never.flags == 0


@RULES
def test_a_repeated_image_exactly_at_alpha_is_not_suspicious(sides: Any) -> None:
    detector = detector_of(float(np.float32(-0.1)), -1.0, warmup=2, sides=sides)
    assert np.isposinf(fold(detector, column(-0.1, -0.1, -0.1)).scores).all()


@RULES
@SPREADS
@DETERMINISTIC
@given(
    likelihoods=LIKELIHOODS,
    sizes=st.lists(st.integers(0, 7), max_size=20),
    capacity=st.none() | st.integers(3, 9),
    flags=st.integers(1, 9),
)
def test_one_by_one_equals_batches_bit_for_bit(
    spread: Any, sides: Any, likelihoods: list[float], sizes: list[int], capacity: int | None, flags: int
) -> None:
    detector = detector_of(
        -1.3, -0.4, warmup=3, spread=spread, sides=sides, capacity=capacity, flags_to_ban=flags
    )
    rows, single, batched = column(*likelihoods), detector.new_memory(), detector.new_memory()
    one_by_one = [detector.update(single, rows[k : k + 1]) for k in range(len(rows))]
    ends = np.cumsum([0, *sizes, len(rows)])
    batches = [detector.update(batched, rows[a:b]) for a, b in pairwise(ends)]
    for name in ("counts", "scores", "nearest"):
        np.testing.assert_array_equal(
            np.concatenate([getattr(v, name) for v in one_by_one] or [[]]),
            np.concatenate([getattr(v, name) for v in batches]),
        )
    assert single == batched
    restored = detector.restore(detector.dump(single))
    assert restored == single
    assert [type(v) for v in vars(restored).values()] == [int, float, float, float, int, bool]


def test_long_streams_keep_their_precision() -> None:
    """Small changes of a large mean: the naive sum of squares would lose them all."""
    stream = np.random.default_rng(0).normal(-4096, 1e-2, (20_000, 1)).astype(np.float32)
    means = np.cumsum(stream[:, 0], dtype=np.float64) / np.arange(1, len(stream) + 1)
    for spread, expected in (
        ("running", means.std()),
        ("error", stream.astype(np.float64).std(ddof=1) / len(stream) ** 0.5),
    ):
        verdict = fold(detector_of(-4095.0, -np.inf, spread=spread), stream)
        assert verdict.scores[-1] == pytest.approx((means[-1] + 4095) / expected, rel=1e-6)


def test_capacity_forgets_the_queries_but_not_the_alarms() -> None:
    detector = detector_of(-1.0, -0.1, warmup=2, capacity=3, flags_to_ban=3)
    bad = [-3.0, -2.0, -4.0]
    memory = detector.new_memory()
    verdict = detector.update(memory, column(*bad, *bad))
    assert verdict.counts.tolist() == [0, 1, 1, 0, 1]
    assert verdict.banned_at == 4
    assert (memory.queries, memory.total) == (2, -5.0)
    np.testing.assert_array_equal(verdict.scores[:2], verdict.scores[3:])


def test_features_are_one_finite_number_an_image() -> None:
    images = np.full((2, 1, 2, 2), 0.5, np.float32)
    np.testing.assert_array_equal(detector_of().features(images), [[-0.5], [-0.5]])
    assert detector_of().features(images[:0]).shape == (0, 1)
    with pytest.raises(RedhandedError, match=r"^encoder: it gives 3 features[^\n]+$"):
        replace(detector_of(), encoder=FirstPixels(count=3)).features(images)
    for scale in (np.nan, np.inf):
        with pytest.raises(RedhandedError, match=r"^encoder: log-likelihoods are not finite[^\n]+$"):
            replace(detector_of(), encoder=FirstPixels(scale)).features(images)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("alpha", np.nan),
        ("alpha", -np.inf),
        ("threshold", np.nan),
        ("warmup", 1),
        ("flags_to_ban", 0),
        ("capacity", 49),
    ],
)
def test_settings_that_could_never_judge_are_rejected(field: str, value: Any) -> None:
    with pytest.raises(RedhandedError, match=rf"^{field}: [^\n]+$"):
        replace(detector_of(), **{field: value})
    assert detector_of(capacity=50).capacity == 50


@pytest.mark.parametrize("field", ["spread", "sides"])
def test_a_mistyped_choice_is_told_the_choices(field: str) -> None:
    detector = detector_of()
    object.__setattr__(detector, field, "both")  # tests check types before the detector can
    with pytest.raises(RedhandedError, match=rf"^{field}: 'both' must be one of [^\n]+$"):
        detector.__post_init__()


def test_alpha_is_the_mean_of_a_benign_stream() -> None:
    assert mean_likelihood(column(-1, -2, -4.5)) == -2.5
    with pytest.raises(RedhandedError, match=r"^stream: [^\n]+$"):
        mean_likelihood(column())


@DETERMINISTIC
@given(
    inside=st.lists(st.integers(-4, 4), min_size=1, max_size=20),
    outside=st.lists(st.integers(-4, 4), min_size=1, max_size=20),
)
def test_auroc_is_scikit_learns(inside: list[int], outside: list[int]) -> None:
    expected = roc_auc_score([1] * len(inside) + [0] * len(outside), inside + outside)
    assert auroc(column(*inside), column(*outside)) == pytest.approx(expected, abs=1e-12)


def test_auroc_by_hand() -> None:
    """Of four pairs two are won, one is tied, one is lost."""
    assert auroc(column(1, 3), column(1, 2)) == pytest.approx((0.5 + 0 + 1 + 1) / 4)
    for inside, outside, name in ((column(), column(1), "inside"), (column(1), column(), "outside")):
        with pytest.raises(RedhandedError, match=rf"^{name}: [^\n]+$"):
            auroc(inside, outside)
