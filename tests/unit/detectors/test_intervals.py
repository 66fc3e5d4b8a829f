"""Intervals against SciPy's and against simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from redhanded.detectors.intervals import Replay, ban_rate_interval, clopper_pearson, rates

DETERMINISTIC = settings(derandomize=True, deadline=None, max_examples=100)


@DETERMINISTIC
@given(
    trials=st.integers(1, 60_000), share=st.floats(0, 1), confidence=st.sampled_from([0.5, 0.9, 0.95, 0.99])
)
def test_clopper_pearson_is_scipys_exact_interval(trials: int, share: float, confidence: float) -> None:
    for events in {0, round(share * trials), trials}:
        expected = binomtest(events, trials).proportion_ci(confidence, method="exact")
        assert clopper_pearson(events, trials, confidence) == pytest.approx(
            (expected.low, expected.high), rel=1e-6, abs=1e-12
        )


def test_the_papers_table_ix_is_noisier_than_it_says() -> None:
    """5 bans in 60,000 (CIFAR-10 at 0.008%): the interval spans a factor of 7."""
    low, high = clopper_pearson(5, 60_000)
    assert (low, high) == pytest.approx((2.71e-5, 1.945e-4), rel=1e-2)


def test_no_trials_say_nothing() -> None:
    assert clopper_pearson(0, 0) == (0.0, 1.0)
    assert ban_rate_interval(np.empty(0, np.int64), 50) == (0.0, 1.0)


def test_a_flagless_stream_bounds_its_bans_by_its_flags() -> None:
    """A resampled zero stays zero, but no flag in 1,000 does not prove that there is none in 10,000."""
    low, high = ban_rate_interval(np.zeros(1000, np.int64), 50)
    assert low == 0
    assert high == clopper_pearson(0, 1000)[1] / 50


def iid_flags(seed: int, n: int = 50_000, rate: float = 0.005) -> np.ndarray:
    return (np.random.default_rng(seed).random(n) < rate).astype(np.int64)


def test_bans_are_far_less_noisy_than_a_binomial() -> None:
    """250 flags make 5 bans; the flags know their rate to 12%, a binomial of 5 to a factor of 7."""
    flags = iid_flags(0)
    low, high = ban_rate_interval(flags, 50)
    bans = int(flags.sum()) // 50
    binomial_low, binomial_high = clopper_pearson(bans, len(flags))
    assert binomial_low < low < flags.mean() / 50 < high < binomial_high
    assert (high - low) < (binomial_high - binomial_low) / 4
    flag_low, flag_high = clopper_pearson(int(flags.sum()), len(flags))
    assert (high - low) * 50 == pytest.approx(flag_high - flag_low, rel=0.2)


def test_the_interval_covers_the_true_rate_about_as_often_as_it_says() -> None:
    hits = sum(
        low <= 1e-4 <= high
        for low, high in (ban_rate_interval(iid_flags(seed), 50, draws=400) for seed in range(100))
    )
    assert 88 <= hits <= 99


@pytest.mark.parametrize("n", [2_000, 10_000])
def test_short_streams_are_covered_about_as_often(n: int) -> None:
    hits = sum(
        low <= 1e-4 <= high
        for low, high in (ban_rate_interval(iid_flags(seed, n), 50, draws=400) for seed in range(100))
    )
    assert 85 <= hits <= 99


def test_runs_of_flags_widen_the_interval() -> None:
    """The same number of flags, in bursts of 25: fewer independent events."""
    scattered = iid_flags(1)
    bursts = np.zeros_like(scattered)
    for start in np.random.default_rng(1).choice(2000, int(scattered.sum()) // 25, replace=False):
        bursts[start * 25 : start * 25 + 25] = 1
    wide, narrow = (high - low for low, high in (ban_rate_interval(x, 50) for x in (bursts, scattered)))
    assert wide > 3 * narrow


@pytest.mark.parametrize("n", [20, 400, 501])
def test_no_stream_is_so_short_that_its_rate_were_certain(n: int) -> None:
    low, high = ban_rate_interval(iid_flags(0, n, rate=0.5), 50)
    assert low < high


@pytest.mark.parametrize("n", [1, 7, 499, 500, 501, 1250])
def test_short_streams_have_intervals_and_equal_streams_equal_ones(n: int) -> None:
    counts = np.ones(n, np.int64)
    assert ban_rate_interval(counts, 50) == pytest.approx((1 / 50, 1 / 50))
    counts[::2] = 0
    low, high = ban_rate_interval(counts, 50)
    assert 0 <= low <= high <= 1 / 50
    assert (low, high) == ban_rate_interval(counts.copy(), 50)


def test_the_interval_holds_the_observed_rate() -> None:
    """99 flags of 50 a ban have closed one account, and nearly another: in the long run there are two."""
    counts = np.zeros(10_000, np.int64)
    counts[::101] = 1
    assert counts.sum() == 100
    counts[0] = 0
    found = rates(Replay(counts, np.array([5_050])), flags_to_ban=50)
    assert ban_rate_interval(counts, 50)[0] > found["fpr"] == 1e-4
    assert found["fpr_low"] == found["fpr"] <= found["fpr_high"]
