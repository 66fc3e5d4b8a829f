"""The thief's client: goes on under a new account whenever the guard closes one (§II-B, Sybil accounts)."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, cycle, islice, repeat
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch

from redhanded.detectors.base import Verdict
from redhanded.errors import RedhandedError
from redhanded.guard import Guard
from redhanded.lab.types import Images, Outputs
from redhanded.types import ImageArray, Int, OutputArray

STUBBORN = 3
"""Fresh accounts in a row that may get no answer at all before the client gives up."""


@runtime_checkable
class Policy(Protocol):
    """Which account sends each query: a frozen value that sees neither images nor answers.

    The client holds `accounts` open accounts, each in a seat; an account that is closed, or left, is replaced
    in its seat by a fresh one. A query that was refused is sent again from its own seat.
    """

    @property
    def accounts(self) -> int:
        """Accounts open at once."""
        ...

    @property
    def queries(self) -> int | None:
        """Queries after which an account is left for a fresh one; None: never."""
        ...

    def seats(self) -> Iterator[int]:
        """Yield the seat of each query, without end: 0 to `accounts` - 1."""
        ...


@dataclass(frozen=True)
class UntilBanned:
    """One account until it is closed, then the next (the paper's thief)."""

    accounts: ClassVar[int] = 1
    queries: ClassVar[int | None] = None

    def seats(self) -> Iterator[int]:
        """Yield the only seat."""
        return repeat(0)


@dataclass(frozen=True)
class Rotation:
    """Queries go to `accounts` open accounts in turn."""

    accounts: int
    queries: ClassVar[int | None] = None

    def __post_init__(self) -> None:
        """Reject a client without accounts."""
        _check_positive("accounts", self.accounts)

    def seats(self) -> Iterator[int]:
        """Yield one seat after the other, over and over."""
        return cycle(range(self.accounts))


@dataclass(frozen=True)
class RandomAssignment:
    """Each query goes to one of `accounts` open accounts at random, all equally likely."""

    accounts: int
    seed: int = 0
    queries: ClassVar[int | None] = None

    def __post_init__(self) -> None:
        """Reject a client without accounts."""
        _check_positive("accounts", self.accounts)

    def seats(self) -> Iterator[int]:
        """Draw the seats; the same with every call."""
        rng = np.random.default_rng(self.seed)
        while True:
            yield int(rng.integers(self.accounts))


@dataclass(frozen=True)
class LeaveAfter:
    """One account for `queries` queries, or until it is closed, then the next."""

    queries: int
    accounts: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Reject accounts that are left before they send anything."""
        _check_positive("queries", self.queries)

    def seats(self) -> Iterator[int]:
        """Yield the only seat."""
        return repeat(0)


def _check_positive(name: str, value: int) -> None:
    if value < 1:
        raise RedhandedError(f"{name}: {value} must be at least 1")


class Judgement(NamedTuple):
    """One exchange with the guard."""

    account: str
    places: Int[np.ndarray, " sent"]
    """Places in the thief's stream of what was sent; the guard judged the first `verdict.judged` of them."""
    verdict: Verdict


class SybilClient:
    """An oracle over a guard, which sends each query from the account that `policy` gives it to.

    A batch is sent account by account, and its answers come back in the order asked. A detector that judges
    each account by itself cannot tell that from queries sent one at a time; before one of scope "global",
    several accounts really send one at a time. In mode `enforce` a refused query is sent again from the
    account that replaces the closed one, and judged again there.
    """

    def __init__(self, guard: Guard, prefix: str = "thief", policy: Policy = UntilBanned()) -> None:
        """Open the policy's accounts."""
        self.guard = guard
        self._names = (f"{prefix}-{n}" for n in count(1))
        self._open = list(islice(self._names, policy.accounts))
        self._seats, self._life = policy.seats(), policy.queries
        self.account = self._open[0]
        """The account that sent last, or the one that has replaced it."""
        self.judgements: list[Judgement] = []
        """In the order sent."""
        self.bans: list[int] = []
        """Places, among all judged queries in the order sent, of those that closed an account."""
        self.judged = 0
        self.asked = 0
        self.sending: Int[np.ndarray, " n"] = np.empty(0, np.int64)
        """Places in the stream of the queries that are before the guard right now."""
        self._sent: dict[str, int] = {}

    @property
    def accounts_used(self) -> int:
        """Accounts that sent at least one query."""
        return len(self._sent)

    @property
    def verdicts(self) -> list[Verdict]:
        """What the guard judged, in the order sent."""
        return [judgement.verdict for judgement in self.judgements]

    @property
    def flags(self) -> int:
        """Flags over all accounts."""
        return sum(verdict.flags for verdict in self.verdicts)

    def answers(self, images: ImageArray) -> Iterator[OutputArray]:
        """Yield answers, in the order asked, until every image has one, changing accounts on the way."""
        seats = np.fromiter(islice(self._seats, len(images)), np.int64, len(images))
        places = np.arange(self.asked, self.asked + len(images))
        self.asked += len(images)
        runs = self._runs(seats)
        if len(runs) == 1:
            yield from self._send(int(seats[0]), images, places)
        elif runs:
            parts = [
                part for rows in runs for part in self._send(int(seats[rows[0]]), images[rows], places[rows])
            ]
            outputs = np.concatenate(parts)
            yield outputs[np.argsort(np.concatenate(runs))]

    def _runs(self, seats: Int[np.ndarray, " n"]) -> list[Int[np.ndarray, " k"]]:
        """Split a batch's rows by who sends them, keeping each account's order."""
        if self.guard.detector.scope == "global" and len(self._open) > 1:
            return list(np.arange(len(seats))[:, None])  # alone, as what is refused is remembered as well
        return [np.flatnonzero(seats == seat) for seat in np.unique(seats)]

    def _send(self, seat: int, images: ImageArray, places: Int[np.ndarray, " n"]) -> Iterator[OutputArray]:
        """Yield answers until every image has one, from the accounts that come to sit in one seat."""
        unanswered = 0
        while len(images):
            self.account = name = self._open[seat]
            fresh = name not in self._sent
            before = self._sent.setdefault(name, 0)
            room = len(images) if self._life is None else min(len(images), self._life - before)
            self.sending = places[:room]
            reply = self.guard.query(name, images[:room])
            self._note(Judgement(name, self.sending, reply.verdict))
            answered = len(reply.outputs)
            if answered:
                yield reply.outputs
            images, places = images[answered:], places[answered:]
            unanswered = 0 if answered else unanswered + fresh
            if unanswered >= STUBBORN:
                raise RedhandedError(
                    f"guard: {STUBBORN} fresh accounts in a row were refused their first query; "
                    "flags_to_ban is too low for any account to live"
                )
            if reply.banned or self._sent[name] == self._life:
                self.account = self._open[seat] = next(self._names)

    def _note(self, judgement: Judgement) -> None:
        verdict = judgement.verdict
        self.judgements.append(judgement)
        self._sent[judgement.account] += verdict.judged
        if verdict.banned_at is not None:
            self.bans.append(self.judged + verdict.banned_at)
        self.judged += verdict.judged

    def __call__(self, images: Images) -> Outputs:
        """Return outputs [n, classes] for images [n, c, h, w] on any device."""
        parts = list(self.answers(images.detach().cpu().numpy()))
        outputs = np.concatenate(parts) if parts else np.empty((0, 0), np.float32)
        return torch.from_numpy(outputs).to(images.device)
