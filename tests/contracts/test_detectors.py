"""What every detector promises, whatever it judges by."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, load_file, save

from redhanded.detectors.base import Arrays, Verdict
from redhanded.errors import RedhandedError
from redhanded.experiments.measure.replay import detection_of, replay
from redhanded.guard import Guard, MemoryLedger, Mode
from redhanded.lab.sybil import Judgement, LeaveAfter, Policy, Rotation, SybilClient, UntilBanned
from redhanded.types import ImageArray

from .detectors_table import ROWS, SHAPE, Row, victim

DETERMINISTIC = settings(derandomize=True, deadline=None, max_examples=40)
CODES = st.lists(st.integers(0, 23), max_size=40)
SIZES = st.lists(st.integers(0, 7), max_size=20)

every_detector = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
per_account = pytest.mark.parametrize(
    "row", [row for row in ROWS if row.detector.scope == "account"], ids=lambda row: row.name
)
across_accounts = pytest.mark.parametrize(
    "row", [row for row in ROWS if row.detector.scope == "global"], ids=lambda row: row.name
)


class Judged(NamedTuple):
    counts: list[int]
    scores: list[float]
    nearest: list[int]
    bans: list[int]


def merged(verdicts: Sequence[Verdict]) -> Judged:
    whole = Judged([], [], [], [])
    for verdict in verdicts:
        if verdict.banned_at is not None:
            assert verdict.judged == verdict.banned_at + 1
            whole.bans.append(len(whole.counts) + verdict.banned_at)
        whole.counts.extend(verdict.counts.tolist())
        whole.scores.extend(verdict.scores.tolist())
        whole.nearest.extend(verdict.nearest.tolist())
    return whole


def update(row: Row, memory: Any, images: ImageArray) -> Verdict:
    detector = row.detector
    return detector.update(
        memory, detector.features(images), victim(images) if detector.needs_outputs else None
    )


def fold(row: Row, memory: Any, images: ImageArray, sizes: Sequence[int] = ()) -> Judged:
    """Judge images in batches of these sizes, then the rest; a global memory outlives its bans."""
    verdicts, at = [], 0
    for size in [*sizes, len(images)]:
        stop = min(at + size, len(images))
        while True:
            verdicts.append(update(row, memory, images[at:stop]))
            at += verdicts[-1].judged
            if row.detector.scope == "account" or verdicts[-1].banned_at is None:
                break
        if row.detector.scope == "account":
            at = stop
    return merged(verdicts)


def same(one: Arrays, other: Arrays) -> None:
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.dtype == other[name].dtype
        np.testing.assert_array_equal(array, other[name])


@every_detector
def test_its_theft_stream_closes_the_account_before_the_end(row: Row) -> None:
    bans = fold(row, row.detector.new_memory(), row.theft).bans
    assert bans
    assert 0 < bans[0] < len(row.theft) - 1


@every_detector
@DETERMINISTIC
@given(codes=CODES, sizes=SIZES)
def test_batching_changes_no_verdict_and_no_memory(row: Row, codes: list[int], sizes: list[int]) -> None:
    images, memory, other = row.stream(codes), row.detector.new_memory(), row.detector.new_memory()
    assert fold(row, memory, images, sizes) == fold(row, other, images, [1] * len(images))
    same(row.detector.dump(memory), row.detector.dump(other))


@every_detector
@DETERMINISTIC
@given(codes=CODES, cut=st.integers(0, 40))
def test_memory_survives_a_file_and_equals_a_fold_over_the_log(row: Row, codes: list[int], cut: int) -> None:
    detector, images = row.detector, row.stream(codes)
    memory, unbroken = detector.new_memory(), detector.new_memory()
    first = fold(row, memory, images[:cut])
    restored = detector.restore(load(save(detector.dump(memory))))
    same(detector.dump(memory), detector.dump(restored))
    second = fold(row, restored, images[cut:])
    whole = fold(row, unbroken, images, [min(cut, len(images))])
    for before, after, total in zip(first[:3], second[:3], whole[:3], strict=True):
        assert [*before, *after] == total
    assert [*first.bans, *(len(first.counts) + ban for ban in second.bans)] == whole.bans
    same(detector.dump(restored), detector.dump(unbroken))


@every_detector
@DETERMINISTIC
@given(codes=CODES)
def test_a_dump_is_not_a_view_of_the_memory(row: Row, codes: list[int]) -> None:
    memory = row.detector.new_memory()
    fold(row, memory, row.stream(codes))
    before = row.detector.dump(memory)
    for array in row.detector.dump(memory).values():
        array[...] = 1
    same(before, row.detector.dump(memory))


@every_detector
@DETERMINISTIC
@given(codes=CODES)
def test_an_empty_batch_changes_nothing(row: Row, codes: list[int]) -> None:
    memory = row.detector.new_memory()
    for _ in range(2):
        before = row.detector.dump(memory)
        verdict = update(row, memory, row.stream([]))
        assert (verdict.judged, verdict.flags, verdict.banned_at) == (0, 0, None)
        same(before, row.detector.dump(memory))
        fold(row, memory, row.stream(codes))


@per_account
@DETERMINISTIC
@given(codes=CODES)
def test_nothing_is_judged_after_a_ban(row: Row, codes: list[int]) -> None:
    memory = row.detector.new_memory()
    closing = update(row, memory, row.theft)
    assert closing.banned_at is not None
    assert closing.judged == closing.banned_at + 1 < len(row.theft)
    assert memory.banned
    before = row.detector.dump(memory)
    later = update(row, memory, row.stream(codes))
    assert (later.judged, later.banned_at) == (0, None)
    same(before, row.detector.dump(memory))


@across_accounts
def test_a_global_memory_outlives_a_ban(row: Row) -> None:
    memory = row.detector.new_memory()
    closing = update(row, memory, row.theft)
    assert closing.banned_at is not None
    assert not memory.banned
    assert update(row, memory, row.stream([23])).judged == 1


@per_account
@DETERMINISTIC
@given(turns=st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 23), max_size=9)), max_size=10))
def test_accounts_are_independent(row: Row, turns: list[tuple[bool, list[int]]]) -> None:
    together = Guard(victim, row.detector, mode="paper")
    alone = {who: Guard(victim, row.detector, mode="paper") for who in (False, True)}
    for who, codes in turns:
        images = row.stream(codes)
        one, other = together.query(str(who), images), alone[who].query("only", images)
        assert merged([one.verdict]) == merged([other.verdict])
        assert (one.refused, one.banned) == (other.refused, other.banned)
        np.testing.assert_array_equal(one.outputs, other.outputs)


@across_accounts
@DETERMINISTIC
@given(codes=CODES, senders=st.lists(st.integers(0, 1000), min_size=40, max_size=40, unique=True))
def test_a_global_detector_does_not_ask_who_sends(row: Row, codes: list[int], senders: list[int]) -> None:
    guard = Guard(victim, row.detector)
    images = row.stream(codes)
    replies = [guard.query(str(who), images[k : k + 1]) for k, who in enumerate(senders[: len(codes)])]
    judged = merged([reply.verdict for reply in replies])
    assert judged == fold(row, row.detector.new_memory(), images)
    assert [k for k, reply in enumerate(replies) if reply.banned] == judged.bans


@every_detector
@pytest.mark.parametrize("sizes", [[16], [1] * 16, [3, 5, 8]], ids=str)
@pytest.mark.parametrize("mode", ["paper", "enforce"])
def test_a_guard_answers_up_to_the_ban(row: Row, mode: Any, sizes: list[int]) -> None:
    """In mode `paper` with the query that closes the account, in mode `enforce` without it."""
    closing = fold(row, row.detector.new_memory(), row.theft).bans[0]
    expected = closing + (mode == "paper")
    guard = Guard(victim, row.detector, mode=mode)
    outputs, refused, at = [], 0, 0
    for size in sizes:
        reply = guard.query("thief", row.theft[at : at + size])
        at += size
        assert reply.banned == (at > closing)
        assert len(reply.outputs) + reply.refused == size
        outputs += list(reply.outputs)
        refused += reply.refused
    np.testing.assert_array_equal(outputs, victim(row.theft[:expected]))
    assert refused == len(row.theft) - expected
    ban = guard.ledger.ban("thief")
    assert ban is not None
    assert ban.position == closing
    after = guard.query("thief", row.stream([23]))
    assert (len(after.outputs), after.refused, after.banned, after.verdict.judged) == (0, 1, True, 0)
    assert guard.query("somebody else", row.stream([23])).refused == 0


POLICIES: dict[str, Policy] = {
    "one account": UntilBanned(),
    "three in rotation": Rotation(3),
    "left after five": LeaveAfter(5),
}


@every_detector
@pytest.mark.parametrize("mode", ["paper", "enforce"])
@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@settings(DETERMINISTIC, max_examples=6)  # of each detector, mode and policy
@given(codes=CODES, batch=st.sampled_from([1, 3, 16]), sizes=SIZES)
def test_what_is_measured_is_what_is_deployed(
    row: Row, mode: Mode, policy: Policy, codes: list[int], batch: int, sizes: list[int]
) -> None:
    """A live client in any batches, a replay, and one query at a time agree, query for query."""
    images = np.concatenate([row.stream(codes), row.theft, row.stream(codes[::-1])])
    outputs = victim(images)
    judgements: list[Judgement] = []
    live = SybilClient(
        Guard(victim, row.detector, mode=mode), policy=policy, batch=batch, watch=judgements.append
    )
    try:
        answers, at = [], 0
        for size in [*sizes, len(images)]:
            answers.append(live.answers(images[at : at + size]))
            at += size
    except RedhandedError:  # no account lives: so it is in the replay
        with pytest.raises(RedhandedError, match="fresh accounts"):
            replay(row.detector, images, outputs, mode, policy)
        return
    lived, later = detection_of(live, judgements), replay(row.detector, images, outputs, mode, policy)
    literal = one_by_one(Guard(victim, row.detector, mode=mode), images, policy)
    for name in ("counts", "nearest", "neighbours", "bans"):
        np.testing.assert_array_equal(getattr(lived, name), getattr(later, name), err_msg=name)
    assert lived.accounts_used == later.accounts_used
    assert [(count, score) for _, count, score, _ in literal] == list(
        zip(lived.counts.tolist(), lived.nearest.tolist(), strict=True)
    )
    assert [place for place, (*_, banned) in enumerate(literal) if banned] == lived.bans.tolist()
    assert lived.accounts_used == len({account for account, *_ in literal})
    told = np.concatenate([part for part in answers if len(part)])
    answered = ~np.isnan(told).any(axis=1)
    np.testing.assert_array_equal(told[answered], outputs[answered])
    assert live.unanswered == (~answered).sum()
    assert mode == "enforce" or answered.all()


def one_by_one(guard: Guard, images: ImageArray, policy: Policy) -> list[tuple[str, int, float, bool]]:
    """Send each image alone: (account, count, score, whether it closed the account) of every judgement."""
    found: list[tuple[str, int, float, bool]] = []
    opened = policy.accounts
    seated, sent = list(range(opened)), dict.fromkeys(range(opened), 0)
    for image, seat in zip(images[:, None], policy.seats(), strict=False):
        answered = False
        while not answered:
            account = seated[seat]
            reply = guard.query(str(account), image)
            banned = reply.verdict.banned_at is not None
            found.append((str(account), int(reply.verdict.counts[0]), float(reply.verdict.scores[0]), banned))
            sent[account] += 1
            # a fresh account that is refused will not be the last
            answered = len(reply.outputs) == 1 or sent[account] == 1
            if banned or sent[account] == policy.queries:
                seated[seat], sent[opened] = opened, 0
                opened += 1
    return found


GOOD = np.full((2, *SHAPE), 0.5, np.float32)


def spoilt(value: float) -> np.ndarray:
    images = GOOD.copy()
    images[1, 0, 2, 3] = value
    return images


BAD = {
    "one image without its batch axis": GOOD[0],
    "five axes": GOOD[None],
    "bytes": (GOOD * 255).astype(np.uint8),
    "integers": GOOD.astype(np.int64),
    "booleans": GOOD > 0,
    "NaN": spoilt(np.nan),
    "infinite": spoilt(np.inf),
    "minus infinite": spoilt(-np.inf),
    "above 1": spoilt(1.001),
    "below 0": spoilt(-0.001),
    "not yet divided by 255": GOOD * 255,
}


@every_detector
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_bad_images_raise_one_line_and_leave_the_account_as_it_was(row: Row, bad: np.ndarray) -> None:
    with pytest.raises(RedhandedError, match=r"^images: [^\n]+$"):
        row.detector.features(bad)
    ledger = MemoryLedger()
    guard, undisturbed = Guard(victim, row.detector, ledger), Guard(victim, row.detector)
    for at in range(0, len(row.theft), 3):
        with pytest.raises(RedhandedError, match=r"^images: "):
            guard.query("somebody", bad)
        images = row.theft[at : at + 3]
        one, other = guard.query("somebody", images), undisturbed.query("somebody", images)
        assert merged([one.verdict]) == merged([other.verdict])
    assert ledger.ban("somebody") is not None


@every_detector
def test_other_floats_are_read_as_float32(row: Row) -> None:
    features = row.detector.features(row.theft)
    assert features.dtype == np.float32
    np.testing.assert_array_equal(row.detector.features(row.theft.astype(np.float64)), features)
    strided = np.asfortranarray(row.theft)
    np.testing.assert_array_equal(row.detector.features(strided), features)


STORED = load_file(Path(__file__).with_name("memories.safetensors"))
"""What each row's memory was dumped as, after its theft's first five queries, before formats had one home."""


@every_detector
def test_a_memory_that_an_earlier_version_dumped_is_read(row: Row) -> None:
    stored = {
        name.removeprefix(f"{row.name}/"): array
        for name, array in STORED.items()
        if name.startswith(f"{row.name}/")
    }
    restored, folded = row.detector.restore(stored), row.detector.new_memory()
    same(row.detector.dump(restored), stored)
    update(row, folded, row.theft[:5])
    assert merged([update(row, restored, row.theft[5:])]) == merged([update(row, folded, row.theft[5:])])
