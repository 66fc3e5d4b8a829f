"""From a benign stream to a threshold, against the detector itself."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redhanded.detectors.intervals import clopper_pearson
from redhanded.detectors.pairs import Calibration, NearPairs, calibrate_similarity, replay_pairs
from redhanded.detectors.similarity import SimilarityDetector
from redhanded.errors import RedhandedError
from redhanded.types import FeatureArray, ImageArray

DETERMINISTIC = settings(derandomize=True, deadline=None, max_examples=60)


class Flatten:
    digest = "flatten"

    def __call__(self, images: ImageArray) -> FeatureArray:
        return images.reshape(len(images), -1)


def fed(rows: np.ndarray, delta: float, **settings: Any) -> tuple[list[int], list[int]]:
    """Counts and bans of a detector that gets a new account after each ban."""
    detector = SimilarityDetector(Flatten(), delta, **settings)
    counts: list[int] = []
    bans: list[int] = []
    while len(counts) < len(rows):
        verdict = detector.update(detector.new_memory(), rows[len(counts) :])
        counts += verdict.counts.tolist()
        if verdict.banned_at is not None:
            bans.append(len(counts) - 1)
    return counts, bans


def clustered(seed: int, n: int, d: int = 8, centres: int = 6, norm: float = 5.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = (rng.normal(size=(centres, d)) * norm)[rng.integers(0, centres, n)] + rng.normal(
        size=(n, d)
    ) * 0.05
    rows[rng.random(n) < 0.05] = 0
    return rows.astype(np.float32)


@DETERMINISTIC
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(0, 60),
    count=st.sampled_from(["queries", "pairs"]),
    flags_to_ban=st.sampled_from([1, 2, 5, 50]),
    share=st.floats(0, 1),
)
def test_replaying_pairs_is_feeding_the_detector(seed: int, n: int, share: float, **rule: Any) -> None:
    rows = clustered(seed, n)
    pairs = NearPairs.of(rows, 0.3)
    assert pairs.length == n
    deltas = [1e-6, 0.05, 0.1, 0.2, 0.3]
    if len(pairs.distance):
        # exactly a distance that occurs: strictly nearer pairs only
        occurring = float(np.sort(pairs.distance)[int(share * (len(pairs.distance) - 1))])
        deltas += [occurring, float(np.nextafter(occurring, 1))]
    for delta in (delta for delta in deltas if delta > 0):
        replay = replay_pairs(pairs, delta, **rule)
        assert (replay.counts.tolist(), replay.bans.tolist()) == fed(rows, delta, **rule)
        assert replay.flags == replay.counts.sum()


def test_a_nearest_neighbour_that_predates_the_wipe_hides_no_other() -> None:
    """Query 3 is nearest to query 0, which the ban at 1 wiped; query 2 is near enough and was not wiped."""
    rows = np.array([[0.0], [0.0], [0.3], [0.1]], np.float32)
    pairs = NearPairs.of(rows, 1.0)
    replay = replay_pairs(pairs, 0.25, flags_to_ban=1)
    assert (replay.counts.tolist(), replay.bans.tolist()) == ([0, 1, 0, 1], [1, 3])


def test_pairs_are_stored_up_to_their_radius_only() -> None:
    pairs = NearPairs.of(clustered(0, 50), 0.1)
    with pytest.raises(RedhandedError, match=r"^delta: 0.2 exceeds the radius 0.1"):
        replay_pairs(pairs, 0.2)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_short_streams_have_no_pairs(n: int) -> None:
    rows = np.arange(n, dtype=np.float32).reshape(n, 1) * 10
    replay = replay_pairs(NearPairs.of(rows, 1.0), 1.0)
    assert (len(replay.counts), replay.flags, len(replay.bans)) == (n, 0, 0)


def check(rows: np.ndarray, calibration: Calibration, fpr: float, count: Any, flags_to_ban: int = 50) -> None:
    """What is promised of any calibration, asked of the detector itself."""
    counts, bans = fed(rows, calibration.delta, count=count, flags_to_ban=flags_to_ban)
    n = len(rows)
    assert (calibration.flags, calibration.bans) == (sum(counts), len(bans))
    assert calibration.flags <= fpr * n * flags_to_ban + 1e-9
    assert calibration.bans <= fpr * n
    flagged = sum(value > 0 for value in counts)
    assert calibration.flag_rate == flagged / n
    assert (calibration.flag_rate_low, calibration.flag_rate_high) == clopper_pearson(flagged, n)
    assert calibration.fpr == len(bans) / n
    assert 0 <= calibration.fpr_low <= calibration.fpr_high <= 1
    assert (calibration.length, calibration.target) == (n, fpr)
    assert (calibration.count, calibration.flags_to_ban) == (count, flags_to_ban)


@pytest.mark.parametrize("count", ["queries", "pairs"])
@pytest.mark.parametrize(("fpr", "flags_to_ban"), [(1e-3, 50), (2.5e-3, 50), (0.01, 5), (0.0101, 10)])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_threshold_is_the_largest_within_the_allowance(
    seed: int, fpr: float, flags_to_ban: int, count: Any
) -> None:
    rows = np.random.default_rng(seed).normal(size=(2000, 4)).astype(np.float32)
    calibration, pairs = calibrate_similarity(rows, fpr=fpr, count=count, flags_to_ban=flags_to_ban)
    check(rows, calibration, fpr, count, flags_to_ban)
    beyond = np.unique(pairs.distance[pairs.distance >= calibration.delta])
    assert len(beyond)
    # one more occurring distance inside the threshold, and the allowance is broken
    rule: dict[str, Any] = {"count": count, "flags_to_ban": flags_to_ban}
    assert (
        replay_pairs(pairs, float(np.nextafter(beyond[0], np.inf)), **rule).flags > fpr * 2000 * flags_to_ban
    )
    # far from every occurring distance, as far as these allow
    below = pairs.distance[pairs.distance < calibration.delta].max()
    assert calibration.delta == pytest.approx((below + beyond[0]) / 2, rel=1e-12)


@DETERMINISTIC
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(100, 300),
    count=st.sampled_from(["queries", "pairs"]),
    flags_to_ban=st.sampled_from([1, 3, 10]),
)
def test_the_allowance_holds_on_any_stream(seed: int, n: int, count: Any, flags_to_ban: int) -> None:
    """Clusters and duplicates, where flags need not grow with the threshold."""
    rows = clustered(seed, n, centres=n // 3)
    try:
        calibration, _ = calibrate_similarity(rows, fpr=0.02, count=count, flags_to_ban=flags_to_ban)
    except RedhandedError as error:
        duplicates = fed(rows, 1e-30, count=count, flags_to_ban=flags_to_ban)[0]
        assert sum(duplicates) > 0.02 * n * flags_to_ban, error  # noqa: PT017
        return
    check(rows, calibration, 0.02, count, flags_to_ban)


def test_pairs_are_dearer_than_queries() -> None:
    rows = clustered(3, 3000, d=3, centres=400)
    rows = rows[np.unique(rows, axis=0, return_index=True)[1]]
    deltas = {
        count: calibrate_similarity(rows, fpr=1e-3, count=count)[0].delta for count in ("queries", "pairs")
    }
    assert deltas["pairs"] <= deltas["queries"]


def test_a_stream_too_short_to_resolve_the_target_names_the_length_it_needs() -> None:
    rows = np.random.default_rng(0).normal(size=(9_999, 2)).astype(np.float32)
    with pytest.raises(
        RedhandedError, match=r"^fpr: 0.0001 [^\n]*9999 benign images[^\n]*at least 10,000 images"
    ):
        calibrate_similarity(rows)


@pytest.mark.parametrize("fpr", [0.0, 1.0, -1e-4, 2.0, float("nan")])
def test_a_target_that_is_no_rate_is_refused(fpr: float) -> None:
    with pytest.raises(RedhandedError, match=r"^fpr: [^\n]* must lie between 0 and 1"):
        calibrate_similarity(np.zeros((10, 2), np.float32), fpr=fpr)


@pytest.mark.parametrize("count", ["queries", "pairs"])
@pytest.mark.parametrize("equal", [120, 1000])
def test_a_stream_of_duplicates_is_told_so(count: Any, equal: int) -> None:
    """More than 0.1% x 50 of the images equal one another."""
    rows = np.random.default_rng(0).normal(size=(1000, 4)).astype(np.float32)
    rows[:equal] = 7
    with pytest.raises(RedhandedError, match=r"^fpr: 0.001 is out of reach: [^\n]*remove duplicates"):
        calibrate_similarity(rows, fpr=1e-3, count=count)


def test_a_few_duplicates_are_borne() -> None:
    rows = np.random.default_rng(0).normal(size=(1000, 4)).astype(np.float32)
    rows[:20] = 7
    calibration, _ = calibrate_similarity(rows, fpr=1e-3)
    check(rows, calibration, 1e-3, "queries")
    assert calibration.flags > 19


@pytest.mark.parametrize(("count", "fpr"), [("queries", 0.02), ("pairs", 0.1)])
def test_a_target_that_any_threshold_meets_is_refused(count: Any, fpr: float) -> None:
    """If every image is near every other, an account lives for 51 queries, or for 11 where pairs count."""
    rows = np.random.default_rng(0).normal(size=(1020, 4)).astype(np.float32)
    with pytest.raises(RedhandedError, match=r"^fpr: [^\n]* choose a smaller one"):
        calibrate_similarity(rows, fpr=fpr, count=count)
    calibration, _ = calibrate_similarity(rows, fpr=fpr * 0.9, count=count)
    check(rows, calibration, fpr * 0.9, count)


@pytest.mark.parametrize("count", ["queries", "pairs"])
@pytest.mark.parametrize("flags_to_ban", [1, 2, 5, 50])
@pytest.mark.parametrize("n", [1, 2, 50, 51, 52, 130])
def test_the_most_flags_are_those_of_equal_images(n: int, flags_to_ban: int, count: Any) -> None:
    from redhanded.detectors.pairs import _most_flags

    counts, _ = fed(np.zeros((n, 2), np.float32), 1.0, count=count, flags_to_ban=flags_to_ban)
    assert _most_flags(n, count, flags_to_ban) == sum(counts)


def test_a_sample_that_meets_many_duplicates_by_chance_still_finds_a_radius() -> None:
    """0.75% duplicates at an allowance of 1%, all among the 512 that guess the radius: it starts at 0."""
    rows = np.random.default_rng(0).normal(size=(2000, 4)).astype(np.float32) * np.float32(1e3)
    sampled = np.sort(np.random.default_rng(0).choice(2000, 512, replace=False))
    rows[sampled[sampled > 0][:15]] = rows[0]
    calibration, _ = calibrate_similarity(rows, fpr=5e-4, flags_to_ban=20)
    check(rows, calibration, 5e-4, "queries", 20)
    assert calibration.delta > 1
