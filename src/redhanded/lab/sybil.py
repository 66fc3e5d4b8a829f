"""The thief's client: goes on under a new account whenever the guard closes one (§II-B, Sybil accounts)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, cycle, islice, repeat
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch

from redhanded.detectors import checks
from redhanded.detectors.base import Verdict
from redhanded.errors import RedhandedError
from redhanded.guard import Guard
from redhanded.lab.types import Images, Outputs
from redhanded.types import ImageArray, Int, OutputArray

STUBBORN = 3
"""Fresh accounts in a row that may be refused before anything at all was answered."""
BATCH = 16
"""Queries sent at once. The victim answers a batch before it is judged: a ban wastes at most 15 answers."""


@runtime_checkable
class Policy(Protocol):
    """Which account sends each query: a frozen value that sees neither images nor answers.

    The client holds `accounts` open accounts, each in a seat; an account that is closed, or left, is replaced
    in its seat by a fresh one. A query that was refused is sent again from its own seat.
    """

    @property
    def accounts(self) -> int: ...

    @property
    def queries(self) -> int | None:
        """Queries after which an account is left for a fresh one; None: never."""

    def seats(self) -> Iterator[int]:
        """Yield the seat of each query, without end: 0 to `accounts` - 1."""


@dataclass(frozen=True)
class UntilBanned:
    """One account until it is closed, then the next (the paper's thief)."""

    accounts: ClassVar[int] = 1
    queries: ClassVar[int | None] = None

    def seats(self) -> Iterator[int]:
        return repeat(0)


@dataclass(frozen=True)
class Rotation:
    """Queries go to `accounts` open accounts in turn."""

    accounts: int
    queries: ClassVar[int | None] = None

    def __post_init__(self) -> None:
        checks.least(1, accounts=self.accounts)

    def seats(self) -> Iterator[int]:
        return cycle(range(self.accounts))


@dataclass(frozen=True)
class RandomAssignment:
    """Each query goes to one of `accounts` open accounts at random, all equally likely."""

    accounts: int
    seed: int = 0
    queries: ClassVar[int | None] = None

    def __post_init__(self) -> None:
        checks.least(1, accounts=self.accounts)

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
        checks.least(1, queries=self.queries)

    def seats(self) -> Iterator[int]:
        return repeat(0)


class Judgement(NamedTuple):
    """One exchange with the guard."""

    account: str
    places: Int[np.ndarray, " sent"]
    """Places in the thief's stream of what was sent; the guard judged the first `verdict.judged` of them."""
    verdict: Verdict


Watch = Callable[[Judgement], None]


def _forget(judgement: Judgement) -> None:
    """Keep nothing: the judgements of a long theft would not fit into memory."""


class SybilClient:
    """An oracle over a guard, which sends each query from the account that `policy` gives it to.

    Queries are sent account by account, `batch` at once, and answers come back in the order asked. A detector
    that judges each account by itself cannot tell that from queries sent one at a time; before one of scope
    "global", several accounts really send one at a time. In mode `enforce` a refused query is sent again from
    the account that replaces the closed one, and judged again there. A fresh account that is refused its
    first query shows that nobody will get it answered: the client gives it up, and its outputs are NaN.

    Every judgement is shown to `watch`; the client itself keeps sums alone.
    """

    def __init__(
        self,
        guard: Guard,
        prefix: str = "thief",
        policy: Policy = UntilBanned(),
        *,
        batch: int = BATCH,
        watch: Watch = _forget,
    ) -> None:
        checks.least(1, batch=batch)
        self.guard = guard
        self._names = (f"{prefix}-{n}" for n in count(1))
        self._open = list(islice(self._names, policy.accounts))
        self._seats, self._life = policy.seats(), policy.queries
        self._batch, self._watch = batch, watch
        self.account = self._open[0]
        """The account that sent last, or the one that has replaced it."""
        self.bans: list[int] = []
        """Places, among all judged queries in the order sent, of those that closed an account."""
        self.judged = self.flags = self.asked = self.answered = 0
        """Sums over all accounts."""
        self.unanswered = 0
        """Queries given up."""
        self.victim_queries = 0
        """Queries that reached the victim: the answered ones, and those whose answers a ban withheld."""
        self.accounts_used = 0
        """Accounts that sent at least one query."""
        self.sending: Int[np.ndarray, " n"] = np.empty(0, np.int64)
        """Places in the stream of the queries that are before the guard right now."""
        self._sent: dict[str, int] = {}
        """Queries judged, of each open account that has sent any."""
        self._refused = 0
        """Fresh accounts in a row that got no answer, while nothing was answered at all."""
        self._classes = 0

    def answers(self, images: ImageArray) -> OutputArray:
        """Return answers [n, classes] in the order asked, changing accounts on the way.

        Raises `RedhandedError` if fresh accounts are refused before anything was answered.
        """
        seats = np.fromiter(islice(self._seats, len(images)), np.int64, len(images))
        first = self.asked
        self.asked += len(images)
        parts = [
            part
            for rows in self._runs(seats)
            for part in self._send(int(seats[rows[0]]), images[rows], first + rows)
        ]
        outputs = np.full((len(images), self._classes), np.nan, np.float32)
        for places, answered in parts:
            outputs[places - first] = answered
        return outputs

    def _runs(self, seats: Int[np.ndarray, " n"]) -> list[Int[np.ndarray, " k"]]:
        """Split a batch's rows by who sends them, keeping each account's order."""
        if self.guard.detector.scope == "global" and len(self._open) > 1:
            return list(np.arange(len(seats))[:, None])  # the memory of all accounts sees the stream's order
        return [np.flatnonzero(seats == seat) for seat in np.unique(seats)]

    def _send(
        self, seat: int, images: ImageArray, places: Int[np.ndarray, " n"]
    ) -> Iterator[tuple[Int[np.ndarray, " k"], OutputArray]]:
        """Yield places and answers, from the accounts that come to sit in one seat, until none is left."""
        while len(images):
            self.account = name = self._open[seat]
            fresh = name not in self._sent
            before = self._sent.setdefault(name, 0)
            room = min(len(images), self._batch, self._life - before if self._life else self._batch)
            self.sending = places[:room]
            reply = self.guard.query(name, images[:room])
            self._note(Judgement(name, self.sending, reply.verdict), fresh=fresh)
            done = len(reply.outputs)
            if done:
                self._classes = reply.outputs.shape[1]
                yield places[:done], reply.outputs
            elif fresh:
                done = self._give_up(reply.verdict)
            self.answered += len(reply.outputs)
            images, places = images[done:], places[done:]
            if reply.banned or self._sent[name] == self._life:
                del self._sent[name]
                self.account = self._open[seat] = next(self._names)

    def _give_up(self, verdict: Verdict) -> int:
        """Return how many queries to go on without: the first, if it is the query that was refused."""
        if self.answered and verdict.judged:
            self.unanswered += 1
            return 1
        self._refused += 1
        if self._refused >= STUBBORN:
            raise RedhandedError(
                f"guard: {STUBBORN} fresh accounts in a row were refused their first query; "
                "flags_to_ban is too low for any account to live"
            )
        return 0

    def _note(self, judgement: Judgement, *, fresh: bool) -> None:
        verdict = judgement.verdict
        self._watch(judgement)
        self.accounts_used += fresh
        self.victim_queries += len(judgement.places) if verdict.judged else 0
        self._sent[judgement.account] += verdict.judged
        if verdict.banned_at is not None:
            self.bans.append(self.judged + verdict.banned_at)
        self.judged += verdict.judged
        self.flags += verdict.flags

    def __call__(self, images: Images) -> Outputs:
        """Return outputs [n, classes] for images [n, c, h, w] on any device."""
        return torch.from_numpy(self.answers(images.detach().cpu().numpy())).to(images.device)
