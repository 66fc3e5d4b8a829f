"""The Stateful Detector and its search, against brute force."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redhanded.detectors.base import Detector
from redhanded.detectors.index import Growing, distances
from redhanded.detectors.neighbours import BLOCK, History, Search
from redhanded.detectors.stateful import StatefulDetector
from redhanded.errors import RedhandedError
from redhanded.types import FeatureArray, ImageArray


@dataclass(frozen=True)
class Flat:
    """The pixels."""

    digest = "flat"

    def __call__(self, images: ImageArray) -> FeatureArray:
        return images.reshape(len(images), -1)


def detector_of(threshold: float = -np.inf, **given: Any) -> StatefulDetector:
    return StatefulDetector(Flat(), threshold, **given)


def definition(rows: FeatureArray, k: int, capacity: int | None = None) -> tuple[list[float], list[int]]:
    """Mean distance to the k nearest and the nearest one, each from all pairs anew."""
    scores, nearest, opened = [], [], 0
    for place in range(len(rows)):
        if capacity is not None and place - opened == capacity:
            opened = place
        measured = [
            sum((float(a) - float(b)) ** 2 for a, b in zip(rows[place], rows[j], strict=True)) ** 0.5
            for j in range(opened, place)
        ]
        enough = len(measured) >= k
        scores.append(sum(sorted(measured)[:k]) / k if enough else np.inf)
        nearest.append(opened + measured.index(min(measured)) if enough else -1)
    return scores, nearest


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(0, 60),
    k=st.integers(1, 6),
    room=st.none() | st.integers(1, 20),
    scale=st.sampled_from([1e-3, 1.0, 50.0]),
)
def test_every_score_is_the_definitions(seed: int, n: int, k: int, room: int | None, scale: float) -> None:
    rng = np.random.default_rng(seed)
    rows = (rng.normal(size=(max(1, n // 3), 5)) * scale)[rng.integers(0, max(1, n // 3), n)]
    rows = (rows + rng.normal(size=rows.shape) * rng.choice([0, 1e-4, 0.1], (n, 1)) * scale).astype(
        np.float32
    )
    capacity = None if room is None else k + room
    scores, nearest = definition(rows, k, capacity)
    detector = detector_of(neighbours=k, capacity=capacity)
    verdict = detector.update(detector.new_memory(), rows)
    np.testing.assert_allclose(verdict.scores, scores, rtol=1e-12, atol=0)
    if n and np.unique(rows, axis=0).shape == rows.shape:  # float64 sums in another order may swap equals
        assert verdict.nearest.tolist() == nearest
    assert verdict.flags == 0


def brute(rows: FeatureArray, place: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    measured = distances(rows[place], rows[:place])
    order = np.argsort(measured, kind="stable")[:k]
    return order, measured[order]


@pytest.mark.parametrize(
    ("d", "norm", "spread"), [(256, 50, 0.13), (64, 1e4, 1e-3), (3, 1.0, 0.5), (300, 0, 1)]
)
@pytest.mark.parametrize("k", [1, 50])
def test_the_nearest_are_exact_where_float32_products_are_not(
    d: int, norm: float, spread: float, k: int
) -> None:
    """Long features near each other: products err by far more than the distances differ."""
    rng = np.random.default_rng(d + k)
    centres = rng.normal(size=(3, d)) * norm / d**0.5
    rows = (centres[rng.integers(0, 3, 700)] + rng.normal(size=(700, d)) * spread / d**0.5).astype(np.float32)
    detector = detector_of(neighbours=k)
    verdict = detector.update(detector.new_memory(), rows)
    history = History(rows[:400])
    search = Search(history, rows[400:])
    for place in range(400, 700):
        expected = brute(rows, place, k)
        for one, other in zip(search.nearest(place - 400, k), expected, strict=True):
            np.testing.assert_array_equal(one, other)
        search.join(place - 400)
        assert verdict.scores[place] == expected[1].mean()
        assert verdict.nearest[place] == expected[0][0]
    np.testing.assert_array_equal(history.features, rows)


def test_only_a_few_are_measured_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []

    def counted(query: np.ndarray, rows: np.ndarray) -> np.ndarray:
        measured.append(len(rows))
        return distances(query, rows)

    monkeypatch.setattr("redhanded.detectors.neighbours.distances", counted)
    rows = np.random.default_rng(0).normal(size=(2_000, 64)).astype(np.float32)
    detector = detector_of()
    detector.update(detector.new_memory(), rows)
    assert len(measured) == 1_950
    assert max(measured) < 60


@pytest.mark.parametrize("sizes", [[1] * 700, [700], [BLOCK, 1, 443], [50, 600, 50]], ids=len)
@pytest.mark.parametrize("capacity", [None, 60])
def test_batches_longer_than_a_block_change_no_bit(sizes: list[int], capacity: int | None) -> None:
    rng = np.random.default_rng(1)
    rows = (rng.normal(size=(700, 48)) * rng.choice([1e-3, 1], (700, 1)) + 3).astype(np.float32)
    detector = detector_of(capacity=capacity)
    one, other = detector.new_memory(), detector.new_memory()
    whole = detector.update(one, rows)
    parts = [detector.update(other, part) for part in np.split(rows, np.cumsum(sizes)[:-1])]
    np.testing.assert_array_equal(whole.scores, np.concatenate([part.scores for part in parts]))
    np.testing.assert_array_equal(whole.nearest, np.concatenate([part.nearest for part in parts]))
    for name, array in detector.dump(one).items():
        np.testing.assert_array_equal(array, detector.dump(other)[name])


def test_one_hit_closes_the_account_and_ties_do_not_alarm() -> None:
    rows = np.arange(8, dtype=np.float32)[:, None] ** 2
    # 0, 1, 4, 9: the third query has (4 + 3) / 2 = 3.5, the fourth (8 + 5) / 2
    detector = detector_of(3.5, neighbours=2)
    assert detector.update(detector.new_memory(), rows).banned_at is None
    closing = detector_of(3.75, neighbours=2).update(detector.new_memory(), rows)
    assert (closing.counts.tolist(), closing.scores.tolist()) == ([0, 0, 1], [np.inf, np.inf, 3.5])
    assert closing.nearest.tolist() == [-1, -1, 1]


def test_the_defaults_are_the_sources() -> None:
    detector = detector_of(1.44)
    assert (detector.neighbours, detector.flags_to_ban, detector.capacity) == (50, 1, None)
    assert isinstance(detector, Detector)
    verdict = detector.update(detector.new_memory(), np.zeros((60, 3), np.float32))
    assert (verdict.banned_at, verdict.scores[-1], verdict.nearest[-1]) == (50, 0.0, 0)
    np.testing.assert_array_equal(detector.features(np.full((2, 1, 1, 2), 0.5, np.float32)), [[0.5, 0.5]] * 2)


def test_a_history_is_a_copy_and_begins_small() -> None:
    detector = detector_of()
    memory, rows = detector.new_memory(), np.zeros((1, 3), np.float32)
    detector.update(memory, rows)
    rows[:] = 9
    assert memory.history.features.tolist() == [[0, 0, 0]]
    assert memory.history._features._room.nbytes <= 4 * 3 * 4
    growing = Growing(np.arange(3))
    growing.append(7)
    assert growing.rows.tolist() == [0, 1, 2, 7]


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"threshold": np.nan}, "threshold"),
        ({"neighbours": 0}, "neighbours"),
        ({"flags_to_ban": 0}, "flags_to_ban"),
        ({"capacity": 50}, "capacity"),
    ],
    ids=str,
)
def test_settings_that_could_never_judge_are_refused(settings: dict[str, Any], field: str) -> None:
    with pytest.raises(RedhandedError, match=rf"^{field}: [^\n]+$"):
        detector_of(**settings)
