"""The similarity detector against its definition."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redhanded.detectors.base import Verdict
from redhanded.detectors.index import principal_axes
from redhanded.detectors.similarity import SimilarityDetector
from redhanded.errors import RedhandedError
from redhanded.types import FeatureArray, ImageArray

DETERMINISTIC = settings(derandomize=True, deadline=None, max_examples=150)


class Flatten:
    """Tests hand features over; only `features` needs an encoder."""

    digest = "flatten"

    def __call__(self, images: ImageArray) -> FeatureArray:
        return images.reshape(len(images), images[0].size if len(images) else 0)


def detector_of(delta: float, **settings: Any) -> SimilarityDetector:
    return SimilarityDetector(Flatten(), delta, **settings)


@dataclass
class Reference:
    """Paper §VI-A by brute force: float64 over the whole history, every query compared with all."""

    delta: float
    count: str
    flags_to_ban: int
    capacity: int | None
    history: list[tuple[int, np.ndarray]] = field(default_factory=list)
    flags: int = 0

    def judge(self, rows: np.ndarray) -> tuple[list[int], list[float], list[int], int | None]:
        counts, scores, nearest = [], [], []
        for place, row in enumerate(rows.astype(np.float64)):
            near = [
                (measured, past)
                for past, other in self.history
                if (measured := float(np.sqrt(np.sum((row - other) ** 2)))) < self.delta
            ]
            best = min(near, default=(np.inf, -1))
            counts.append(len(near) if self.count == "pairs" else int(bool(near)))
            scores.append(best[0])
            nearest.append(best[1])
            self.history.append((place, row))
            self.flags += counts[-1]
            if self.flags >= self.flags_to_ban:
                return counts, scores, nearest, place
            if self.capacity is not None and len(self.history) >= self.capacity:
                self.history = []
        return counts, scores, nearest, None


def listed(verdict: Verdict) -> tuple[list[int], list[float], list[int], int | None]:
    return verdict.counts.tolist(), verdict.scores.tolist(), verdict.nearest.tolist(), verdict.banned_at


def agree(rows: np.ndarray, delta: float, axes: np.ndarray | None = None, **settings: Any) -> list[int]:
    """Judge a stream, a new account after each ban, and compare with the reference; return the bans."""
    full = {"count": "queries", "flags_to_ban": 50, "capacity": None, **settings}
    detector = detector_of(delta, axes=axes, **full)
    at, bans = 0, []
    while True:
        memory = detector.new_memory()
        verdict = detector.update(memory, rows[at:])
        reference = Reference(delta, **full)
        assert listed(verdict) == reference.judge(rows[at:])
        assert memory.flags == reference.flags
        assert memory.banned == (verdict.banned_at is not None)
        if verdict.banned_at is None:
            return bans
        bans.append(at + verdict.banned_at)
        at = bans[-1] + 1


def clustered(seed: int, n: int, d: int, delta: float, norm: float) -> np.ndarray:
    """Neighbours at about `delta` around few centres; a norm of 50 is what SimNet's features have."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(4, d))
    centres *= norm / np.linalg.norm(centres, axis=1, keepdims=True)
    rows = centres[rng.integers(0, 4, n)] + rng.normal(size=(n, d)) * 0.8 * delta / np.sqrt(d)
    return rows.astype(np.float32)


@DETERMINISTIC
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(0, 60),
    d=st.sampled_from([1, 2, 5, 64]),
    norm=st.sampled_from([0.0, 1.0, 50.0]),
    axes=st.sampled_from([None, 1, 2, 3, 4]),
    count=st.sampled_from(["queries", "pairs"]),
    flags_to_ban=st.sampled_from([1, 2, 7, 50]),
    capacity=st.sampled_from([None, 2, 9, 30]),
)
def test_every_verdict_is_the_definitions(
    seed: int, n: int, d: int, norm: float, axes: int | None, **settings: Any
) -> None:
    rows = clustered(seed, n, d, 0.13, norm)
    # axes from elsewhere keep the search exact as well
    kept = None if axes is None else principal_axes(clustered(seed + 1, 50, d, 0.13, 3.0), axes)
    agree(rows, 0.13, kept, **settings)


@pytest.mark.parametrize("axes", [None, 1, 3])
@pytest.mark.parametrize("d", [3, 256])
@pytest.mark.parametrize("factor", [1 - 1e-6, 1 - 1e-12, 1.0, 1 + 1e-12, 1 + 1e-6])
def test_pairs_at_a_hair_from_delta_are_judged_by_their_float64_distance(
    axes: int | None, d: int, factor: float
) -> None:
    """Features of norm 50 at distances near 0.13: float32 matrix products err by 1e-3 here."""
    rng = np.random.default_rng(d)
    for k in range(40):
        row = rng.normal(size=d)
        row = (row * 50 / np.linalg.norm(row)).astype(np.float32)
        step = rng.normal(size=d)
        other = (row + 0.13 * step / np.linalg.norm(step)).astype(np.float32)
        apart = float(np.sqrt(np.sum((row.astype(np.float64) - other.astype(np.float64)) ** 2)))
        delta = apart * factor
        direction = (step / np.linalg.norm(step))[None]  # the worst axis: the pair lies along it
        kept = None if axes is None else direction.astype(np.float32)
        if axes == 3:
            kept = np.linalg.qr(np.vstack([direction, rng.normal(size=(2, d))]).T)[0].T.astype(np.float32)
        for rows in (np.stack([row, other]), np.stack([other, row])):
            detector = detector_of(delta, axes=kept)
            verdict = detector.update(detector.new_memory(), rows)
            assert verdict.counts.tolist() == [0, int(apart < delta)], k
            assert (factor > 1) == (apart < delta)


@pytest.mark.parametrize("count", ["queries", "pairs"])
def test_the_papers_setting_on_a_long_stream(count: Any) -> None:
    """δ = 0.13 at norm 50 and 50 flags to a ban, over several bans."""
    rng = np.random.default_rng(0)
    fresh = rng.normal(size=(400, 64))
    fresh *= 50 / np.linalg.norm(fresh, axis=1, keepdims=True)
    rows = fresh[rng.integers(0, 400, 900)] + rng.normal(size=(900, 64)) * 0.09 / 8
    bans = agree(rows.astype(np.float32), 0.13, principal_axes(fresh.astype(np.float32)), count=count)
    assert len(bans) >= 3


def test_queries_count_once_and_pairs_count_each_neighbour() -> None:
    rows = np.zeros((6, 2), np.float32)
    counts = {
        detector.count: detector.update(detector.new_memory(), rows).counts.tolist()
        for detector in (detector_of(1.0, count="queries"), detector_of(1.0, count="pairs"))
    }
    assert counts == {"queries": [0, 1, 1, 1, 1, 1], "pairs": [0, 1, 2, 3, 4, 5]}


def test_the_fiftieth_flag_bans_and_the_log_place_survives_a_wipe() -> None:
    rows = np.zeros((60, 3), np.float32)
    detector = detector_of(0.5)
    assert detector.update(detector.new_memory(), rows).banned_at == 50
    wiping = detector_of(0.5, capacity=4)
    verdict = wiping.update(wiping.new_memory(), rows[:9])
    # the first query after a wipe has nobody to be near to; flags are not wiped
    assert verdict.nearest.tolist() == [-1, 0, 0, 0, -1, 4, 4, 4, -1]
    assert wiping.update(wiping.new_memory(), rows).counts.sum() == 45


def test_of_equally_near_neighbours_the_first_is_named() -> None:
    detector = detector_of(2.0)
    rows = np.array([[1, 0], [-1, 0], [0, 0]], np.float32)
    assert detector.update(detector.new_memory(), rows).nearest.tolist() == [-1, -1, 0]


def test_a_history_is_not_the_callers_array() -> None:
    detector = detector_of(0.5)
    memory, rows = detector.new_memory(), np.zeros((1, 3), np.float32)
    detector.update(memory, rows)
    rows[:] = 9
    assert detector.update(memory, np.zeros((1, 3), np.float32)).flags == 1


def test_a_small_account_costs_little() -> None:
    """A million accounts that sent one query each: the history is not allocated ahead, axes are shared."""
    axes = np.eye(3, 256, dtype=np.float32)
    detector = detector_of(0.5, axes=axes)
    memories = [detector.new_memory() for _ in range(2)]
    for memory in memories:
        detector.update(memory, np.zeros((1, 256), np.float32))
        assert memory.index._rows._room.nbytes <= 4 * 256 * 4
    assert np.shares_memory(memories[0].index._axes, memories[1].index._axes)


@pytest.mark.parametrize(
    ("settings", "field_name"),
    [
        ({"delta": 0.0}, "delta"),
        ({"delta": -1.0}, "delta"),
        ({"delta": float("nan")}, "delta"),
        ({"delta": float("inf")}, "delta"),
        ({"flags_to_ban": 0}, "flags_to_ban"),
        ({"capacity": 0}, "capacity"),
        ({"capacity": 1}, "capacity"),
        ({"axes": np.ones((2, 8), np.float32)}, "axes"),
        ({"axes": np.eye(3, dtype=np.float32) * np.float32(1.001)}, "axes"),
    ],
    ids=str,
)
def test_settings_that_could_never_judge_are_refused(settings: dict[str, Any], field_name: str) -> None:
    with pytest.raises(RedhandedError, match=rf"^{field_name}: [^\n]+$"):
        detector_of(**{"delta": 0.1, **settings})
