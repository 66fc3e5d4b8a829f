"""Blacklight against its port's rules, written out on hexadecimal strings and sets."""

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redhanded.detectors.base import Detector
from redhanded.detectors.blacklight import BlacklightDetector
from redhanded.errors import RedhandedError
from redhanded.types import FeatureArray

SHAPE = (2, 4, 5)
SMALL = BlacklightDetector(0.5, SHAPE, window=6, hashes=10)


def fingerprint(detector: BlacklightDetector, image: np.ndarray) -> list[str]:
    """Reversed hexadecimal digests of one image, the largest first."""
    salt = np.random.default_rng(detector.salt_seed).integers(0, 255, image.size)
    quantised = []
    for place, value in enumerate(image.ravel()):
        salted = (round(float(value) * 255) + int(salt[place])) % 255
        quantised.append(round(salted / detector.quantisation) * detector.quantisation)
    digests = set()
    count = int((len(quantised) - detector.window + 1) / detector.stride)
    for place in range(count):
        window = quantised[place * detector.stride : place * detector.stride + detector.window]
        digests.add(hashlib.sha256(np.array(window, np.int16).tobytes()).hexdigest()[::-1])
    return sorted(digests, reverse=True)[: detector.hashes]


def hashes(row: np.ndarray) -> list[str]:
    """What a feature row holds, as the leading twelve digits of hexadecimal strings."""
    halves = row.astype(np.int64).reshape(-1, 2).tolist()
    return [f"{high:06x}{low:06x}" for high, low in halves if high >= 0]


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    window=st.integers(1, 40),
    stride=st.integers(1, 4),
    quantisation=st.sampled_from([1, 7, 50, 64, 128, 150, 254]),
    size=st.integers(1, 60),
    levels=st.sampled_from([2, 256]),
)
def test_fingerprints_are_the_literal_ones(
    seed: int, window: int, stride: int, quantisation: int, size: int, levels: int
) -> None:
    if (41 - window) < stride:
        return
    detector = BlacklightDetector(0.5, SHAPE, window, stride, quantisation, size, seed % 5)
    images = np.random.default_rng(seed).integers(0, levels, (3, *SHAPE)) / np.float32(levels - 1)
    images[2] = images[2].flat[0]  # flat images repeat windows only where the salt does
    rows = detector.features(images.astype(np.float32))
    assert rows.shape == (3, 2 * size)
    assert rows.dtype == np.float32
    for row, image in zip(rows, images, strict=True):
        expected = fingerprint(detector, image)
        assert hashes(row) == [digest[:12] for digest in expected]
        assert (row[2 * len(expected) :] == -1).all()


def test_the_defaults_are_the_ports_and_bytes_lose_nothing() -> None:
    detector = BlacklightDetector()
    assert isinstance(detector, Detector)
    assert (detector.scope, detector.needs_outputs, detector.flags_to_ban) == ("global", False, 1)
    images = (np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32)) / 255).astype(np.float32)
    rows = detector.features(images)
    assert rows.shape == (2, 100)
    for row, image in zip(rows, images, strict=True):
        assert hashes(row) == [digest[:12] for digest in fingerprint(detector, image)]
    np.testing.assert_array_equal(detector.features(images[1:]), rows[1:])
    # a step of one level moves no multiple of 50 but at its edges
    nudged = detector.features(images + np.where(images < 1, 0.3 / 255, 0).astype(np.float32))
    np.testing.assert_array_equal(nudged, rows)
    assert (replace(detector, salt_seed=1).features(images) != rows).any()


def rows_of(*sets: set[int], size: int = 10) -> FeatureArray:
    """Feature rows that hold these small hashes."""
    rows = np.full((len(sets), 2 * size), -1, np.float32)
    for row, values in zip(rows, sets, strict=True):
        for place, value in enumerate(sorted(values, reverse=True)):
            row[2 * place : 2 * place + 2] = [value // 8, value % 8]
    return rows


SETS = st.lists(st.sets(st.integers(0, 15), min_size=1, max_size=10), max_size=25)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(sets=SETS, threshold=st.sampled_from([-np.inf, 0.0, 0.3, 0.5, 1.1]), again=st.integers(0, 25))
def test_matches_are_those_of_set_intersections(sets: list[set[int]], threshold: float, again: int) -> None:
    sets = [*sets, *sets[:again]]
    detector = replace(SMALL, threshold=threshold)
    memory, rows = detector.new_memory(), rows_of(*sets)
    for place, values in enumerate(sets):
        shared = [len(values & other) for other in sets[:place]]
        most = max(shared, default=0)
        verdict = detector.update(memory, rows[place : place + 1])
        score = 1 - most / 10 if place else np.inf
        assert verdict.scores[0] == pytest.approx(score, abs=1e-15)
        assert verdict.nearest.tolist() == [shared.index(most) if most else -1]
        assert verdict.counts.tolist() == [int(verdict.scores[0] < threshold)]
        assert (verdict.banned_at == 0) == bool(verdict.counts[0])
        if place % 7 == 3:
            memory = detector.restore(detector.dump(memory))
    assert memory.flags == 0
    assert not memory.banned
    np.testing.assert_array_equal(detector.dump(memory)["rows"], rows)


def test_exactly_half_of_the_hashes_is_no_match() -> None:
    detector = BlacklightDetector()
    first = set(range(50))
    for shared, alarms in ((25, 0), (26, 1)):
        rows = rows_of(first, set(range(50 - shared, 100 - shared)), size=50)
        assert detector.update(detector.new_memory(), rows).flags == alarms


def test_a_batch_stops_at_the_sender_who_is_closed_and_what_matched_is_remembered() -> None:
    sets = [set(range(8)), set(range(10, 18)), {*range(2, 8), 20, 21}, {20, 21, *range(4, 8), 22, 23}]
    rows = rows_of(*sets)
    memory = SMALL.new_memory()
    closing = SMALL.update(memory, rows)
    assert (closing.banned_at, closing.judged, closing.nearest.tolist()) == (2, 3, [-1, -1, 0])
    following = SMALL.update(memory, rows[3:])
    # six with the query that was itself a match, four with the first
    assert (following.banned_at, following.nearest.tolist(), following.scores.tolist()) == (0, [2], [0.4])
    quota = replace(SMALL, flags_to_ban=2)
    assert quota.update(quota.new_memory(), rows).banned_at == 3


def test_copies_of_an_image_take_no_room_in_the_index() -> None:
    memory = replace(SMALL, threshold=-np.inf).new_memory()
    never = replace(SMALL, threshold=-np.inf)
    verdict = never.update(memory, np.repeat(rows_of(set(range(10))), 5_000, axis=0))
    assert (verdict.scores[1:] == 0).all()
    assert (verdict.nearest[1:] == 0).all()
    assert (len(memory.first), len(memory.later), len(memory.rows)) == (10, 0, 5_000)


def test_images_of_another_shape_are_refused_in_one_line() -> None:
    images = np.zeros((1, 1, 4, 5), np.float32)
    with pytest.raises(RedhandedError, match=r"^images: \[1, 4, 5\] are not \[2, 4, 5\][^\n]+image_shape$"):
        SMALL.features(images)
    assert SMALL.features(np.zeros((0, *SHAPE), np.float32)).shape == (0, 20)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("threshold", np.nan),
        ("flags_to_ban", 0),
        ("window", 0),
        ("window", 41),
        ("stride", 0),
        ("quantisation", 0),
        ("quantisation", 255),
        ("hashes", 0),
    ],
)
def test_settings_that_could_never_judge_are_refused(field: str, value: Any) -> None:
    with pytest.raises(RedhandedError, match=rf"^{field}: [^\n]+$"):
        replace(SMALL, **{field: value})
    with pytest.raises(RedhandedError, match=r"^window: 40 pixels at stride 2"):
        replace(SMALL, window=40, stride=2)
