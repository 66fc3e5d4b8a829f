"""Replays by other account policies: everything stands in the stream's order."""

from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redhanded.detectors import BlacklightDetector, PradaDetector, SimilarityDetector
from redhanded.experiments.measure import replay as module
from redhanded.experiments.measure.replay import replay
from redhanded.guard import Mode
from redhanded.lab.sybil import LeaveAfter, Policy, RandomAssignment, Rotation, UntilBanned
from redhanded.types import FeatureArray, ImageArray

DETERMINISTIC = settings(derandomize=True, deadline=None, max_examples=40)
POOL = np.random.default_rng(0).uniform(0, 1, (6, 1, 4, 4)).astype(np.float32)
POLICIES: list[Policy] = [
    UntilBanned(),
    Rotation(1),
    Rotation(3),
    RandomAssignment(2, seed=5),
    LeaveAfter(1),
    LeaveAfter(4),
]


@dataclass(frozen=True)
class Pixels:
    digest = "pixels"

    def __call__(self, images: ImageArray) -> FeatureArray:
        return images.reshape(len(images), -1)


@dataclass
class Expected:
    counts: list[int] = field(default_factory=list)
    neighbours: list[int] = field(default_factory=list)
    bans: list[int] = field(default_factory=list)
    accounts: set[str] = field(default_factory=set)


def simulated(policy: Policy, codes: list[int], limit: int, mode: Mode) -> Expected:
    """Query by query: an account is closed by the repeats of its own images, the earliest is the nearest."""
    found = Expected()
    opened = policy.accounts
    names = [str(n) for n in range(opened)]
    logs: dict[str, list[tuple[int, int]]] = {}
    for code, seat in zip(codes, islice(policy.seats(), len(codes)), strict=True):
        answered = False
        while not answered:
            log = logs.setdefault(names[seat], [])
            found.accounts.add(names[seat])
            earlier = [at for old, at in log if old == code]
            log.append((code, len(found.counts)))
            banned = len(log) - len({old for old, _ in log}) == limit
            found.counts.append(int(bool(earlier)))
            found.neighbours.append(earlier[0] if earlier else -1)
            if banned:
                found.bans.append(len(found.counts) - 1)
            answered = mode == "paper" or not banned
            if banned or len(log) == policy.queries:
                names[seat] = str(opened)
                opened += 1
    return found


@DETERMINISTIC
@given(
    st.sampled_from(POLICIES),
    st.lists(st.integers(0, 5), max_size=50),
    st.integers(1, 3),
    st.sampled_from(["paper", "enforce"]),
    st.sampled_from([1, 7, 256]),
)
def test_every_policy_against_a_literal_simulation(
    policy: Policy, codes: list[int], limit: int, mode: Mode, batch: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BATCH", batch)
        detector = SimilarityDetector(Pixels(), 0.01, flags_to_ban=limit)
        found = replay(detector, POOL[codes] if codes else POOL[:0], None, mode, policy)
    expected = simulated(policy, codes, limit, mode)
    assert found.counts.tolist() == expected.counts
    assert found.neighbours.tolist() == expected.neighbours
    assert found.bans.tolist() == expected.bans
    assert found.accounts_used == len(expected.accounts)
    assert np.array_equal(found.nearest, np.where(found.counts > 0, 0.0, np.inf))


DETECTORS: list[Any] = [
    SimilarityDetector(Pixels(), 0.6, "pairs", flags_to_ban=5),
    PradaDetector(0.99, (1, 4, 4), every=1, least_per_class=2, least=2),
]


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("accounts", [2, 3])
def test_a_rotation_is_so_many_replays_of_the_interleaved_streams(detector: Any, accounts: int) -> None:
    rng = np.random.default_rng(1)
    images = (POOL[rng.integers(6, size=200)] * 0.9 + rng.uniform(0, 0.1, (200, 1, 4, 4))).astype(np.float32)
    outputs = np.eye(3, dtype=np.float32)[
        rng.integers(3, size=200)
    ]  # a detector that judges by them sees its own
    found = replay(detector, images, outputs, policy=Rotation(accounts))
    bans = []
    used = 0
    for seat in range(accounts):
        part = slice(seat, None, accounts)
        alone = replay(detector, images[part], outputs[part])
        np.testing.assert_array_equal(found.counts[part], alone.counts)
        np.testing.assert_array_equal(found.nearest[part], alone.nearest)
        where = np.where(alone.neighbours >= 0, alone.neighbours * accounts + seat, -1)
        np.testing.assert_array_equal(found.neighbours[part], where)
        bans += (alone.bans * accounts + seat).tolist()
        used += alone.accounts_used
    assert len(bans) > accounts
    assert found.bans.tolist() == sorted(bans)
    assert found.accounts_used == used


def test_a_memory_of_all_accounts_sees_them_in_the_streams_order() -> None:
    codes = [0, 1, 2, 0, 3, 1, 1, 4]
    detector = BlacklightDetector(0.5, (1, 4, 4), window=3, hashes=6)
    for policy in (Rotation(2), RandomAssignment(3, seed=1), LeaveAfter(1)):
        found = replay(detector, POOL[codes], policy=policy)
        assert found.counts.tolist() == [0, 0, 0, 1, 0, 1, 1, 0]
        assert found.neighbours[[3, 5, 6]].tolist() == [0, 1, 1]
        assert found.bans.tolist() == [3, 5, 6]


@pytest.mark.parametrize("policy", [UntilBanned(), LeaveAfter(7)])
def test_one_repeat_is_one_ban_for_a_detector_of_all_accounts(policy: Policy) -> None:
    """What a ban cuts off a batch is not in the shared memory when the next account sends it."""
    images = np.random.default_rng(3).random((40, 1, 8, 8), dtype=np.float32)
    images[9] = images[2]
    found = replay(BlacklightDetector(0.5, (1, 8, 8), window=5, hashes=20), images, policy=policy)
    assert found.bans.tolist() == [9]
    assert found.neighbours[9] == 2
