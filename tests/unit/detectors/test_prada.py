"""PRADA against its released rules, written out as loops."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from redhanded.detectors.base import Detector
from redhanded.detectors.neighbours import BLOCK
from redhanded.detectors.prada import PradaDetector, shapiro_w
from redhanded.errors import RedhandedError

SHAPE = (1, 2, 3)
SMALL = PradaDetector(-np.inf, SHAPE, every=3, least_per_class=4, outliers=2.0, least=6)


class Literal:
    """Growing sets, thresholds and tests, one query and one pixel after the other."""

    def __init__(self, detector: PradaDetector) -> None:
        self.detector = detector
        self.sets: dict[int, list[list[float]]] = {}
        self.accepted: dict[int, list[float]] = {}
        self.thresholds: dict[int, float] = {}
        self.minima: dict[int, list[float]] = {}
        self.queries = 0

    def query(self, image: list[float], label: int) -> float:
        if label not in self.sets:
            self.sets[label], self.accepted[label], self.thresholds[label] = [image], [0.0], 0.0
        else:
            least = min(
                sum((a - b) ** 2 for a, b in zip(image, member, strict=True)) ** 0.5
                for member in self.sets[label]
            )
            self.minima.setdefault(label, []).append(least)
            if least > self.thresholds[label]:
                self.sets[label].append(image)
                self.accepted[label].append(least)
                candidate = np.mean(self.accepted[label]) - np.std(self.accepted[label])
                self.thresholds[label] = max(self.thresholds[label], candidate)
        tested = self.queries % self.detector.every == 0
        self.queries += 1
        return self.statistic() if tested else np.inf

    def statistic(self) -> float:
        pooled = []
        for minima in self.minima.values():
            if len(minima) >= self.detector.least_per_class:
                pooled += minima
        mean, std = (np.mean(pooled), np.std(pooled)) if pooled else (0, 0)
        kept = [value for value in pooled if abs(value - mean) < self.detector.outliers * std]
        if len(kept) <= self.detector.least or len(kept) < 3:
            return np.inf
        return float(stats.shapiro(kept).statistic)


def stream(seed: int, n: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Pixels, some nearly repeated, and one-hot answers."""
    rng = np.random.default_rng(seed)
    rows = rng.random((n, 6))
    for place in range(1, n):
        if rng.random() < 0.3:
            rows[place] = rows[rng.integers(place)] + rng.normal(size=6) * 0.01
    return rows.astype(np.float32), np.eye(classes)[
        rng.integers(0, classes, n) % rng.integers(1, classes + 1)
    ]


@settings(derandomize=True, deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), n=st.integers(0, 90))
def test_statistics_and_growing_sets_are_the_literal_ones(seed: int, n: int) -> None:
    rows, outputs = stream(seed, n)
    literal, memory = Literal(SMALL), SMALL.new_memory()
    expected = [
        literal.query(row.tolist(), label)
        for row, label in zip(rows, outputs.argmax(axis=1).tolist(), strict=True)
    ]
    verdict = SMALL.update(memory, rows, outputs)
    np.testing.assert_allclose(verdict.scores, expected, rtol=1e-9)
    assert (verdict.nearest == -1).all()
    assert list(memory.sets) == list(literal.sets)
    for label, grown in memory.sets.items():
        np.testing.assert_array_equal(grown.members.features, literal.sets[label])
        np.testing.assert_allclose(grown.distances.rows, literal.accepted[label], rtol=1e-12)
        assert grown.threshold == pytest.approx(literal.thresholds[label], rel=1e-12, abs=1e-15)
        logged = memory.minima.rows[memory.classes.rows == label]
        np.testing.assert_allclose(logged, literal.minima.get(label, []), rtol=1e-12)


def test_the_papers_setting_on_a_stream_of_several_blocks() -> None:
    detector = PradaDetector(-np.inf, SHAPE)
    assert (detector.every, detector.least_per_class, detector.outliers, detector.least) == (10, 10, 3.0, 100)
    assert PradaDetector(0.9).image_shape == (3, 32, 32)
    assert isinstance(detector, Detector)
    rows, outputs = stream(5, 2 * BLOCK + 40)
    literal, memory = Literal(detector), detector.new_memory()
    expected = [
        literal.query(row.tolist(), label)
        for row, label in zip(rows, outputs.argmax(axis=1).tolist(), strict=True)
    ]
    verdict = detector.update(memory, rows, outputs)
    np.testing.assert_allclose(verdict.scores, expected, rtol=1e-9)
    tested = np.flatnonzero(np.isfinite(verdict.scores))
    assert tested[0] > 100
    assert set(np.diff(tested)) == {10}
    assert sum(len(grown.members) for grown in memory.sets.values()) < len(rows)


@pytest.mark.parametrize("sizes", [[1] * 600, [BLOCK, 1, 343], [7, 590, 3]], ids=len)
def test_batches_change_no_bit_and_a_dump_goes_on(sizes: list[int]) -> None:
    detector = PradaDetector(-np.inf, SHAPE)
    rows, outputs = stream(9, 600)
    one, other = detector.new_memory(), detector.new_memory()
    whole = detector.update(one, rows, outputs)
    scores, ends = [], np.cumsum(sizes)
    for size, end in zip(sizes, ends, strict=True):
        if end > 300:
            other = detector.restore(detector.dump(other))
        part = detector.update(other, rows[end - size : end], outputs[end - size : end])
        scores.append(part.scores)
    np.testing.assert_array_equal(whole.scores, np.concatenate(scores))
    for name, array in detector.dump(one).items():
        np.testing.assert_array_equal(array, detector.dump(other)[name])


def test_a_ban_leaves_nothing_of_what_follows_in_its_block() -> None:
    rows, outputs = stream(2, 200, classes=1)
    outputs = np.hstack([outputs, np.zeros_like(outputs)])
    never = replace(SMALL, threshold=-np.inf)
    scores = never.update(never.new_memory(), rows, outputs).scores
    banned_at = int(np.flatnonzero(np.isfinite(scores))[4])
    detector = replace(SMALL, threshold=float(scores[banned_at]) + 1e-9, flags_to_ban=1)
    first = int(np.flatnonzero(scores < detector.threshold)[0])
    outputs[first + 1 :] = [0, 1]  # a class that first comes after the ban
    memory = detector.new_memory()
    verdict = detector.update(memory, rows, outputs)
    assert (verdict.banned_at, memory.queries, list(memory.sets)) == (first, first + 1, [0])


def test_minima_all_alike_are_no_distribution() -> None:
    detector = PradaDetector(2.0, SHAPE, every=1, least_per_class=1, least=2)
    outputs = np.ones((50, 1))
    memory = detector.new_memory()
    verdict = detector.update(memory, np.zeros((50, 6), np.float32), outputs)
    assert np.isposinf(verdict.scores).all()
    assert len(memory.sets[0].members) == 1  # at T_c = 0 and a distance of 0 nobody joins


def test_w_is_scipys_and_warns_of_nothing() -> None:
    """A warning would fail the test."""
    values = np.random.default_rng(0).normal(size=6_000)
    with pytest.warns(UserWarning, match="N > 5000"):
        expected = stats.shapiro(values).statistic
    assert shapiro_w(values) == expected
    assert shapiro_w(values[:99]) == stats.shapiro(values[:99]).statistic


def test_features_are_the_pixels_of_images_of_one_shape() -> None:
    images = np.random.default_rng(0).random((2, *SHAPE)).astype(np.float32)
    np.testing.assert_array_equal(SMALL.features(images), [image.ravel() for image in images])
    assert SMALL.features(images[:0]).shape == (0, 6)
    with pytest.raises(RedhandedError, match=r"^images: \[1, 3, 2\] are not \[1, 2, 3\][^\n]+image_shape$"):
        SMALL.features(images.transpose(0, 1, 3, 2))
    with pytest.raises(RedhandedError, match=r"^outputs: [^\n]+$"):
        SMALL.update(SMALL.new_memory(), SMALL.features(images))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("threshold", np.nan),
        ("flags_to_ban", 0),
        ("every", 0),
        ("least", 1),
        ("outliers", 0.0),
    ],
)
def test_settings_that_could_never_judge_are_refused(field: str, value: Any) -> None:
    with pytest.raises(RedhandedError, match=rf"^{field}: [^\n]+$"):
        replace(SMALL, **{field: value})
