"""The guard: victim, detector and ledger under threads, replicas and failures."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from threading import Barrier, Event, Lock
from time import sleep
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redhanded.detectors.base import Arrays, Scope, Verdict, check_images
from redhanded.errors import RedhandedError
from redhanded.guard import Ban, Guard, MemoryLedger, Reply
from redhanded.types import FeatureArray, ImageArray, OutputArray

DETERMINISTIC = settings(derandomize=True, deadline=None, max_examples=60)


def images(values: list[int]) -> ImageArray:
    """One pixel each: value / 100. The detector below flags what it has seen before."""
    return (np.array(values, np.float32) / 100).reshape(-1, 1, 1, 1)


def victim(asked: ImageArray) -> OutputArray:
    assert len(asked), "nothing to ask"
    return np.concatenate([asked[:, 0, 0], 1 - asked[:, 0, 0]], axis=1)


@dataclass
class Seen:
    rows: list[bytes] = field(default_factory=list)
    flags: int = 0
    banned: bool = False


@dataclass(frozen=True)
class Repeats:
    """Flags exact repeats and counts how often it judged each row of each memory."""

    flags_to_ban: int = 3
    needs_outputs: bool = False
    scope: Scope = "account"
    pause: float = 0
    before: Callable[[], None] = lambda: None
    judged: Counter[tuple[int, int]] = field(default_factory=Counter, compare=False)

    def features(self, images: np.ndarray) -> FeatureArray:
        return check_images(images).reshape(len(images), 1)

    def new_memory(self) -> Seen:
        sleep(self.pause)
        return Seen()

    def update(self, memory: Seen, features: FeatureArray, outputs: OutputArray | None = None) -> Verdict:
        if self.needs_outputs:
            assert outputs is not None
            np.testing.assert_array_equal(outputs[:, :1], features)  # the answers to these very images
        counts: list[int] = []
        banned_at = None
        for place, row in enumerate(() if memory.banned else features):
            self.before()
            key = row.tobytes()
            self.judged[id(memory), len(memory.rows)] += 1
            counts.append(int(key in memory.rows))
            sleep(self.pause)  # a thread that is let in here would judge the same row
            memory.rows.append(key)
            memory.flags += counts[-1]
            if memory.flags >= self.flags_to_ban:
                banned_at = place
                memory.banned = self.scope == "account"
                memory.flags = 0
                break
        each = np.array(counts, np.int64)
        return Verdict(each, np.zeros(len(each)), each - 1, banned_at)

    def dump(self, memory: Seen) -> Arrays:
        raise NotImplementedError

    def restore(self, state: Any) -> Seen:
        raise NotImplementedError


def seen_by(reply: Reply) -> tuple[list[int], int | None, list[list[float]], int, bool]:
    verdict = reply.verdict
    return verdict.counts.tolist(), verdict.banned_at, reply.outputs.tolist(), reply.refused, reply.banned


STREAM = st.lists(
    st.tuples(st.integers(0, 1), st.lists(st.integers(0, 15), max_size=6)), min_size=1, max_size=12
)


@pytest.mark.parametrize("needs_outputs", [False, True])
@pytest.mark.parametrize("mode", ["paper", "enforce"])
@pytest.mark.parametrize("scope", ["account", "global"])
@DETERMINISTIC
@given(calls=STREAM)
def test_two_replicas_judge_as_one(
    scope: Scope, mode: Any, needs_outputs: bool, calls: list[tuple[int, list[int]]]
) -> None:
    """Whichever replica takes a batch, replies are the same, and each replica judges each row once."""
    shared, detectors = MemoryLedger(), [Repeats(3, needs_outputs, scope) for _ in range(3)]
    replicas = [Guard(victim, detector, shared, mode) for detector in detectors[:2]]
    single = Guard(victim, detectors[2], mode=mode)
    for which, values in calls:
        assert seen_by(replicas[which].query("a", images(values))) == seen_by(
            single.query("a", images(values))
        )
    assert shared.ban("a") == single.ledger.ban("a")
    for detector in detectors:
        assert set(detector.judged.values()) <= {1}


def test_a_replica_closes_an_account_for_what_another_one_logged() -> None:
    """The first replica logs the rows and dies before it can close the account."""
    ledger, detector = MemoryLedger(), Repeats()
    rows = detector.features(images([1, 1, 1, 1, 5]))
    ledger.append("a", rows, 0)
    reply = Guard(victim, detector, ledger).query("a", images([6, 7]))
    assert (reply.refused, reply.banned, reply.verdict.judged) == (2, True, 0)
    assert ledger.ban("a") == Ban(3)


def test_a_global_ban_closes_only_the_sender_whichever_replica_folds_it() -> None:
    ledger = MemoryLedger()
    detector = Repeats(flags_to_ban=1, scope="global")
    one, two = Guard(victim, detector, ledger), Guard(victim, detector, ledger)
    assert not one.query("honest", images([1, 2])).banned
    thief = one.query("thief", images([3, 1, 4, 2, 5]))
    assert (thief.verdict.banned_at, thief.refused, thief.banned) == (1, 4, True)
    late = two.query("late", images([6, 7]))
    assert (len(late.outputs), late.banned) == (2, False)
    assert [ledger.ban(who) for who in ("honest", "thief", "late")] == [None, Ban(3), None]
    # what the ban cut off is in nobody's memory, so that whoever sends it again is not judged by it
    for guard in (one, two):
        assert not guard.query(f"sends {guard is one}", images([4 + (guard is one)])).banned
        assert guard.query(f"copies {guard is one}", images([1])).banned


def test_threads_of_one_account_are_judged_one_after_the_other() -> None:
    detector = Repeats(flags_to_ban=10**6, pause=1e-4)
    guard = Guard(victim, detector)
    batches = [images([k % 7, k % 5, 99]) for k in range(40)]
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda batch: guard.query("a", batch), batches))
    assert sum(reply.verdict.flags for reply in replies) == 40 * 3 - len({*range(7), 99})
    assert set(detector.judged.values()) == {1}
    assert len(detector.judged) == 40 * 3
    for batch, reply in zip(batches, replies, strict=True):
        np.testing.assert_array_equal(reply.outputs, victim(batch))


def test_threads_that_meet_a_new_account_get_the_same_memory() -> None:
    """Making a memory takes long enough here for every thread to try."""
    barrier = Barrier(8)
    detector = Repeats(flags_to_ban=10**6, pause=0.02)
    guard = Guard(victim, detector)

    def send(_: int) -> Reply:
        barrier.wait(timeout=30)
        return guard.query("new", images([1]))

    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(send, range(8)))
    assert sorted(reply.verdict.flags for reply in replies) == [0] + [1] * 7
    assert len(detector.judged) == 8  # a second memory would have judged the log again


def test_threads_over_two_replicas_judge_every_row_exactly_once_each() -> None:
    ledger = MemoryLedger()
    detectors = [Repeats(flags_to_ban=10**6, pause=1e-4) for _ in range(2)]
    guards = [Guard(victim, detector, ledger) for detector in detectors]
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda k: guards[k % 2].query("a", images([k % 9, k % 4])), range(60)))
    for guard in guards:  # each catches up with the other
        guard.query("a", images([50]))
    assert sum(reply.verdict.flags for reply in replies) == 120 - 9
    for detector, missed in zip(detectors, (1, 0), strict=True):
        assert set(detector.judged.values()) == {1}
        assert len(detector.judged) == 122 - missed


def test_threads_race_to_a_ban_and_exactly_one_query_makes_it() -> None:
    for _ in range(20):
        ledger = MemoryLedger()
        guards = [Guard(victim, Repeats(flags_to_ban=5), ledger, "paper") for _ in range(2)]
        with ThreadPoolExecutor(8) as pool:
            replies = list(
                pool.map(lambda k, guards=guards: guards[k % 2].query("a", images([1, 1])), range(12))
            )
        assert sum(reply.verdict.banned_at is not None for reply in replies) == 1
        assert sum(len(reply.outputs) for reply in replies) == 6
        assert ledger.ban("a") == Ban(5)
        assert all(reply.banned for reply in replies if reply.refused)


def test_accounts_do_not_wait_for_each_other() -> None:
    entered, release = Event(), Event()

    def block() -> None:
        entered.set()
        assert release.wait(timeout=30)

    slow = Guard(victim, Repeats(before=block))
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(slow.query, "slow", images([1]))
        assert entered.wait(timeout=30)
        slow.detector = replace(slow.detector, before=lambda: None)
        assert pool.submit(slow.query, "quick", images([1])).result(timeout=30).refused == 0
        assert not waiting.done()
        release.set()
        assert waiting.result(timeout=30).refused == 0


def test_a_query_that_waited_for_the_lock_while_the_account_was_closed_is_told_so() -> None:
    entered, release = Event(), Event()

    def block() -> None:
        entered.set()
        assert release.wait(timeout=30)

    guard = Guard(victim, Repeats(before=block))
    with ThreadPoolExecutor(2) as pool:
        closing = pool.submit(guard.query, "a", images([1] * 4))
        assert entered.wait(timeout=30)
        late = pool.submit(guard.query, "a", images([2]))  # finds the account open, then waits
        sleep(0.05)
        release.set()
        assert closing.result(timeout=30).banned
        reply = late.result(timeout=30)
    assert (reply.refused, reply.banned, reply.verdict.judged) == (1, True, 0)


def test_a_failure_inside_a_batch_loses_and_doubles_nothing() -> None:
    calls = iter([None, None, KeyError("once")])

    def fail() -> None:
        error = next(calls, None)
        if error is not None:
            raise error

    guard, calm = Guard(victim, Repeats(before=fail)), Guard(victim, Repeats())
    with pytest.raises(KeyError, match="once"):
        guard.query("a", images([1, 2, 3]))
    calm.query("a", images([1, 2, 3]))
    for values in ([1, 2], [4, 3, 5]):
        assert seen_by(guard.query("a", images(values))) == seen_by(calm.query("a", images(values)))
    assert guard.ledger.ban("a") == Ban(6)


class Flaky(MemoryLedger):
    """A ledger whose connection breaks when it should close an account."""

    broken = True

    def close(self, account_id: str, ban: Ban) -> None:
        if self.broken:
            raise ConnectionError("ledger is down")
        super().close(account_id, ban)


def test_a_ban_that_could_not_be_written_is_written_by_the_next_query() -> None:
    ledger = Flaky()
    guard = Guard(victim, Repeats(), ledger)
    with pytest.raises(ConnectionError):
        guard.query("a", images([1] * 5))
    ledger.broken = False
    reply = guard.query("a", images([2]))
    assert (reply.refused, reply.banned) == (1, True)
    assert ledger.ban("a") == Ban(3)


def test_the_history_of_a_closed_account_is_let_go() -> None:
    guard = Guard(victim, Repeats())
    for account in ("a", "b", "c"):
        guard.query(account, images([1] * 4))
    assert not guard._accounts
    guard.query("d", images([1]))
    assert set(guard._accounts) == {"d"}


class Counting:
    """A victim that counts what it was asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self._lock = Lock()

    def __call__(self, batch: ImageArray) -> OutputArray:
        with self._lock:
            self.asked.append(len(batch))
        return victim(batch)


@pytest.mark.parametrize("mode", ["paper", "enforce"])
def test_the_victim_is_not_asked_for_closed_accounts_or_empty_batches(mode: Any) -> None:
    asked = Counting()
    guard = Guard(asked, Repeats(), mode=mode)
    guard.query("a", images([1] * 6))
    guard.query("a", images([2]))
    guard.query("b", images([]))
    assert asked.asked == [6]


def test_a_closed_account_takes_no_rows_and_keeps_none() -> None:
    ledger = MemoryLedger()
    rows = np.ones((3, 1), np.float32)
    assert ledger.append("a", rows, 0)[0] == 0
    ledger.close("a", Ban(2))
    position, unseen = ledger.append("a", rows, 3)
    assert (position, len(unseen)) == (3, 0)
    assert not ledger._logs


@pytest.mark.parametrize("needs_outputs", [False, True])
def test_a_victim_that_fails_leaves_no_trace_and_its_client_may_send_again(needs_outputs: bool) -> None:
    down = True

    def flaky(batch: ImageArray) -> OutputArray:
        if down:
            raise ConnectionError
        return victim(batch)

    guard = Guard(flaky, Repeats(needs_outputs=needs_outputs))
    for _ in range(5):
        with pytest.raises(ConnectionError):
            guard.query("a", images([1, 2, 3, 4]))
    down = False
    reply = guard.query("a", images([1, 2, 3, 4]))
    assert (reply.refused, reply.banned, reply.verdict.flags) == (0, False, 0)


def test_a_detector_that_needs_outputs_gets_them_and_the_reply_withholds_the_rest() -> None:
    asked = Counting()
    guard = Guard(asked, Repeats(needs_outputs=True))
    reply = guard.query("a", images([1, 2, 1, 1, 1, 3]))
    assert asked.asked == [6]
    assert reply.verdict.banned_at == 4
    np.testing.assert_array_equal(reply.outputs, victim(images([1, 2, 1, 1])))
    assert guard.query("a", images([9])).refused == 1
    assert asked.asked == [6]


def test_an_empty_batch_opens_no_account() -> None:
    guard = Guard(victim, Repeats())
    reply = guard.query("a", images([]))
    assert (len(reply.outputs), reply.refused, reply.banned) == (0, 0, False)
    assert not guard._accounts


def test_a_guard_refuses_an_unknown_mode() -> None:
    """In a process of its own: here the shape checker would be first."""
    code = "from redhanded.guard import Guard; Guard(None, None, mode='nosuch')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].endswith("mode: unknown 'nosuch'; choose from paper, enforce")


def test_a_guard_refuses_a_victim_that_does_not_answer_each_image() -> None:
    guard = Guard(lambda batch: victim(batch[:1]), Repeats())
    with pytest.raises(RedhandedError, match=r"^victim: gave 1 answers to 4"):
        guard.query("a", images([1, 2, 3, 4]))


def test_guards_do_not_share_a_default_ledger() -> None:
    one, two = Guard(victim, Repeats()), Guard(victim, Repeats())
    assert one.query("a", images([1] * 4)).banned
    assert not two.query("a", images([1])).banned
