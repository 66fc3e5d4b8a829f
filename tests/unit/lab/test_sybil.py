"""The thief's client: accounts, bans and answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from redhanded.detectors.base import Arrays, Scope, Verdict, check_images
from redhanded.detectors.similarity import SimilarityDetector
from redhanded.errors import RedhandedError
from redhanded.guard import Guard, MemoryLedger, Mode
from redhanded.lab.attacks.exchange import Transfer
from redhanded.lab.models import Dense, build
from redhanded.lab.sybil import (
    STUBBORN,
    Judgement,
    LeaveAfter,
    Policy,
    RandomAssignment,
    Rotation,
    SybilClient,
    UntilBanned,
)
from redhanded.lab.training import Training
from redhanded.lab.types import as_is
from redhanded.types import FeatureArray, ImageArray, OutputArray

DETERMINISTIC = settings(derandomize=True, deadline=None, max_examples=30)


@dataclass
class Count:
    queries: int = 0
    banned: bool = False


@dataclass(frozen=True)
class EveryQuery:
    """Flags every query: an account lives for `limit` of them."""

    limit: int = 3
    needs_outputs = False
    scope: Scope = "account"

    def features(self, images: np.ndarray) -> FeatureArray:
        return check_images(images).reshape(len(images), -1)[:, :1]

    def new_memory(self) -> Count:
        return Count()

    def update(self, memory: Count, features: FeatureArray, outputs: OutputArray | None = None) -> Verdict:
        judged = 0 if memory.banned else min(len(features), max(1, self.limit - memory.queries))
        memory.queries += judged
        memory.banned = memory.queries >= self.limit
        ones = np.ones(judged, np.int64)
        banned_at = judged - 1 if memory.banned and judged else None
        return Verdict(ones, ones.astype(np.float64), ones - 2, banned_at)

    def dump(self, memory: Count) -> Arrays:
        return {"state": np.array([memory.queries, memory.banned])}

    def restore(self, state: Mapping[str, np.ndarray]) -> Count:
        queries, banned = state["state"].tolist()
        return Count(queries, bool(banned))


@dataclass
class Victim:
    """Answers with the first two pixels, and remembers how many it answered."""

    answered: list[int] = field(default_factory=list)

    def __call__(self, images: ImageArray) -> OutputArray:
        self.answered.append(len(images))
        return images.reshape(len(images), -1)[:, :2].copy()


@dataclass(frozen=True)
class Pixels:
    digest = "pixels"

    def __call__(self, images: ImageArray) -> FeatureArray:
        return images.reshape(len(images), -1)


def images(count: int, side: int = 2) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(count))


def client(limit: int, mode: Mode) -> tuple[SybilClient, Victim]:
    victim = Victim()
    return SybilClient(Guard(victim, EveryQuery(limit), mode=mode)), victim


def pieces(sent: Tensor, sizes: list[int]) -> list[Tensor]:
    """Cut to batches of these sizes, then the rest."""
    batches, at = [], 0
    for size in [*sizes, len(sent)]:
        batches.append(sent[at : at + size])
        at += size
    return batches


@DETERMINISTIC
@given(st.integers(0, 20), st.integers(1, 5), st.lists(st.integers(0, 6), max_size=6))
def test_mode_paper_answers_everything_once_whatever_the_batches(
    count: int, limit: int, sizes: list[int]
) -> None:
    thief, victim = client(limit, "paper")
    sent = images(count)
    answers = [thief(batch) for batch in pieces(sent, sizes)]
    if count:  # of the unguarded oracle, in its order
        assert torch.equal(torch.cat([part for part in answers if len(part)]), sent.flatten(1)[:, :2])
    assert thief.judged == thief.flags == count <= sum(victim.answered)
    assert thief.bans == [place for place in range(count) if place % limit == limit - 1]
    assert thief.accounts_used == -(-count // limit)


@DETERMINISTIC
@given(st.integers(1, 20), st.integers(2, 5), st.lists(st.integers(0, 6), max_size=6))
def test_mode_enforce_sends_what_was_refused_again(count: int, limit: int, sizes: list[int]) -> None:
    thief, victim = client(limit, "enforce")
    sent = images(count)
    answers = [thief(batch) for batch in pieces(sent, sizes)]
    assert torch.equal(torch.cat([part for part in answers if len(part)]), sent.flatten(1)[:, :2])
    assert sum(victim.answered) >= count  # what is refused is asked again
    # an account answers all but its last query; that one is judged again under the next name
    refused = (count - 1) // (limit - 1)
    assert thief.accounts_used == refused + 1
    assert len(thief.bans) == refused
    assert thief.judged == thief.flags == count + refused
    assert thief.bans == [limit * ban - 1 for ban in range(1, refused + 1)]


@pytest.mark.parametrize("mode", ["paper", "enforce"])
@pytest.mark.parametrize("sizes", [[], [5, 1, 30, 2]])
def test_a_real_detector_against_a_loop(mode: Mode, sizes: list[int]) -> None:
    generator = torch.Generator().manual_seed(0)
    pool = torch.rand(10, 3, 2, 2, generator=generator)
    sent = pool[torch.randint(10, (60,), generator=generator)]  # repeats are flagged
    thief = SybilClient(Guard(Victim(), SimilarityDetector(Pixels(), 0.01, flags_to_ban=4), mode=mode))
    answers = torch.cat([part for part in map(thief, pieces(sent, sizes)) if len(part)])
    assert torch.equal(answers, sent.flatten(1)[:, :2])
    history: set[bytes] = set()
    flags = judged = 0
    bans = []
    for image in sent:
        key = image.numpy().tobytes()
        flags += key in history
        history.add(key)
        judged += 1
        if flags == 4:
            bans.append(judged - 1)
            history, flags = set(), 0
            if mode == "enforce":
                history = {key}
                judged += 1
    assert len(bans) > 3
    assert thief.bans == bans
    assert thief.judged == judged
    assert thief.flags == 4 * len(bans) + flags
    assert thief.accounts_used == len(bans) + bool(history)


def test_accounts_are_named_in_turn() -> None:
    guard = Guard(Victim(), EveryQuery(2), mode="paper")
    thief = SybilClient(guard, prefix="x")
    thief(images(5))
    assert thief.account == "x-3"
    assert [guard.ledger.ban(f"x-{n}") is not None for n in (1, 2, 3)] == [True, True, False]


def test_an_unused_account_is_not_counted() -> None:
    thief, _ = client(4, "paper")
    thief(images(4))
    assert (len(thief.bans), thief.accounts_used) == (1, 1)  # the next name is open, and has sent nothing
    thief(images(1))
    assert thief.accounts_used == 2
    empty, _ = client(4, "paper")
    assert len(empty(images(0))) == 0
    assert empty.accounts_used == 0


def test_gives_up_when_no_fresh_account_gets_an_answer() -> None:
    thief, _ = client(1, "enforce")
    with pytest.raises(RedhandedError, match=rf"^guard: {STUBBORN} fresh accounts[^\n]+$"):
        thief(images(2))
    assert thief.accounts_used == STUBBORN


def test_a_query_that_a_fresh_account_is_refused_is_given_up() -> None:
    """The first account is refused as well, but only the fresh one shows that nobody will be answered."""
    thief, _ = client(3, "enforce")
    thief(images(2))
    object.__setattr__(thief.guard.detector, "limit", 1)  # from now on no account lives
    answers = thief(images(3))
    assert torch.isnan(answers).all()  # a fresh account is refused, so the query is given up
    assert (thief.accounts_used, thief.unanswered, thief.answered) == (1 + 3, 3, 2)


def test_outputs_come_back_as_tensors_of_the_images_device() -> None:
    thief, _ = client(3, "paper")
    sent = images(4).contiguous(memory_format=torch.channels_last).requires_grad_()
    outputs = thief(sent)
    assert outputs.dtype == torch.float32
    assert outputs.device == sent.device
    assert not outputs.requires_grad


@pytest.mark.parametrize("mode", ["paper", "enforce"])
@pytest.mark.parametrize("batch", [1, 4, 16])
def test_the_victim_is_asked_what_is_answered_and_little_more_at_each_ban(mode: Mode, batch: int) -> None:
    """A ban withholds what came after it in a batch, whatever the size of the batches that the thief asks."""
    victim = Victim()
    thief = SybilClient(Guard(victim, EveryQuery(50), mode=mode), batch=batch)
    thief(images(1_000))
    assert len(thief.bans) >= 19
    assert thief.victim_queries == sum(victim.answered) <= 1_000 + batch * len(thief.bans)
    assert thief.answered == 1_000


def test_a_long_theft_leaves_no_rows_behind() -> None:
    """Neither the client nor the ledger keeps what closed accounts sent."""
    ledger = MemoryLedger()
    thief = SybilClient(Guard(Victim(), EveryQuery(5), ledger, "paper"))
    for _ in range(20):
        thief(images(100))
    assert len(thief.bans) == 400
    assert sum(map(len, ledger._logs.values())) < 5
    held = [
        len(value) for value in vars(thief).values() if isinstance(value, list | dict) and value != thief.bans
    ]
    assert max(held) <= 1


POLICIES: list[Policy] = [
    UntilBanned(),
    Rotation(1),
    Rotation(3),
    RandomAssignment(2, seed=5),
    LeaveAfter(1),
    LeaveAfter(4),
]


@dataclass
class Theft:
    """A literal simulation, query by query, of accounts that bear `limit` repeated images."""

    policy: Policy
    limit: int
    mode: Mode
    flags: int = 0
    judged: int = 0
    bans: list[tuple[int, str]] = field(default_factory=list)
    """Query that closed an account, and the account."""
    senders: list[list[str]] = field(default_factory=list)
    """Accounts that sent each query."""

    def run(self, codes: list[int]) -> None:
        opened = self.policy.accounts
        names = [f"thief-{n + 1}" for n in range(opened)]
        logs: dict[str, list[int]] = {}
        for place, seat in enumerate(islice(self.policy.seats(), len(codes))):
            self.senders.append([])
            answered = False
            while not answered:
                name = names[seat]
                log = logs.setdefault(name, [])
                repeated = codes[place] in log
                log.append(codes[place])
                self.senders[-1].append(name)
                self.judged += 1
                self.flags += repeated
                banned = len(log) - len(set(log)) == self.limit
                answered = self.mode == "paper" or not banned
                if banned:
                    self.bans.append((place, name))
                if banned or len(log) == self.policy.queries:
                    opened += 1
                    names[seat] = f"thief-{opened}"


def shape_of(senders: list[list[str]]) -> list[list[int]]:
    """Rename accounts by their first query, as a batch is sent account by account."""
    seen: dict[str, int] = {}
    return [[seen.setdefault(name, len(seen)) for name in names] for names in senders]


@DETERMINISTIC
@given(
    st.sampled_from(POLICIES),
    st.lists(st.integers(0, 4), max_size=40),
    st.integers(1, 3),
    st.sampled_from(["paper", "enforce"]),
    st.lists(st.integers(0, 9), max_size=6),
)
def test_policies_against_a_literal_simulation(
    policy: Policy, codes: list[int], limit: int, mode: Mode, sizes: list[int]
) -> None:
    pool = images(5)
    sent = pool[codes] if codes else pool[:0]
    detector = SimilarityDetector(Pixels(), 0.01, flags_to_ban=limit)
    judgements: list[Judgement] = []
    guard = Guard(Victim(), detector, mode=mode)
    thief = SybilClient(guard, policy=policy, batch=3, watch=judgements.append)
    answers = [thief(batch) for batch in pieces(sent, sizes)]
    if codes:  # the unguarded oracle's, in the order asked
        assert torch.equal(torch.cat([part for part in answers if len(part)]), sent.flatten(1)[:, :2])
    theft = Theft(policy, limit, mode)
    theft.run(codes)
    assert thief.judged == theft.judged
    assert thief.flags == theft.flags
    assert thief.accounts_used == len({name for names in theft.senders for name in names})
    senders: list[list[str]] = [[] for _ in codes]
    places = []
    for judgement in judgements:
        for place in judgement.places[: judgement.verdict.judged].tolist():
            senders[place].append(judgement.account)
            places.append(place)
    assert shape_of(senders) == shape_of(theft.senders)
    assert sorted(places[ban] for ban in thief.bans) == [place for place, _ in theft.bans]


@DETERMINISTIC
@given(st.integers(0, 30), st.integers(1, 7), st.lists(st.integers(0, 9), max_size=6))
def test_who_leaves_early_is_never_banned_and_pays_in_accounts(
    count: int, leave: int, sizes: list[int]
) -> None:
    thief = SybilClient(Guard(Victim(), EveryQuery(8)), policy=LeaveAfter(leave))
    for batch in pieces(images(count), sizes):
        thief(batch)
    assert thief.bans == []
    assert thief.accounts_used == -(-count // leave)
    assert thief.judged == count


def test_seats() -> None:
    assert list(islice(Rotation(3).seats(), 7)) == [0, 1, 2, 0, 1, 2, 0]
    drawn = list(islice(RandomAssignment(4, seed=1).seats(), 2000))
    assert drawn == list(islice(RandomAssignment(4, seed=1).seats(), 2000))
    assert drawn != list(islice(RandomAssignment(4, seed=2).seats(), 2000))
    assert min(np.bincount(drawn, minlength=4)) > 400
    assert set(drawn) == {0, 1, 2, 3}


@pytest.mark.parametrize("policy", [Rotation, RandomAssignment, LeaveAfter])
def test_a_policy_without_accounts(policy: type) -> None:
    with pytest.raises(RedhandedError, match=r"^(accounts|queries): 0 must be at least 1$"):
        policy(0)


def test_fresh_accounts_that_get_no_answer_in_a_rotation() -> None:
    thief = SybilClient(Guard(Victim(), EveryQuery(1)), policy=Rotation(2))
    with pytest.raises(RedhandedError, match="fresh"):
        thief(images(2))


def test_what_nobody_answers_teaches_nothing_and_shifts_nothing() -> None:
    """The transfer set keeps the place of a refused query; its training leaves the query out."""

    def oracle(asked: Tensor) -> Tensor:
        answers = torch.eye(2)[(asked[:, 0, 0, 0] > 0.5).long()]
        answers[1::3] = torch.nan
        return answers

    model = build(Dense((4,)), 2, torch.Generator().manual_seed(0))
    transfer = Transfer(oracle, as_is, 100, lambda: model, torch.Generator())
    exchange = transfer.seed(images(30, 32))
    assert len(transfer) == len(exchange.labels) == 30
    assert transfer.classes[1::3].eq(0).all()
    for parameter in transfer.train(Training(epochs=1, batch=8)).parameters():
        assert parameter.isfinite().all()
