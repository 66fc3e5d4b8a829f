"""The one place where victim, detector and ledger meet."""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Literal, get_args

import numpy as np

from redhanded.detectors.base import Detector, Verdict, check_images
from redhanded.errors import RedhandedError
from redhanded.guard.ledger import Ban, Ledger, MemoryLedger
from redhanded.types import FeatureArray, ImageArray, OutputArray

Mode = Literal["paper", "enforce"]
"""Whether the query that closes an account is still answered (`paper`) or already refused (`enforce`)."""

GLOBAL = "*"
"""The one memory of a detector that does not ask who sent a query."""


@dataclass(frozen=True)
class Reply:
    """What came of a batch: its first `len(outputs)` queries were answered, the rest refused.

    The verdict is for measuring and alerting; a service never shows it to the account.
    """

    outputs: OutputArray
    refused: int
    banned: bool
    """Whether the account is closed after this batch."""
    verdict: Verdict


@dataclass
class _Account:
    """This replica's view of one account: a cache of the ledger's log, folded."""

    memory: Any
    seen: int = 0
    lock: Lock = field(default_factory=Lock)


class Guard:
    """Answer queries until the detector closes the account that sends them.

    Serial per account, concurrent across accounts. Every replica folds the ledger's log, so the verdicts do
    not depend on how queries were batched, nor on which replica took them. The log of a detector of scope
    "global" is never cut, for a replica that starts later has to fold all of it.
    """

    def __init__(
        self,
        victim: Callable[[ImageArray], OutputArray],
        detector: Detector[Any],
        ledger: Ledger | None = None,  # a new `MemoryLedger`
        mode: Mode = "enforce",
    ) -> None:
        """Put `detector` in front of `victim`; raises `RedhandedError` for an unknown mode."""
        if mode not in get_args(Mode):
            raise RedhandedError(f"mode: unknown {mode!r}; choose from {', '.join(get_args(Mode))}")
        self.victim, self.detector, self.mode = victim, detector, mode
        self.ledger: Ledger = MemoryLedger() if ledger is None else ledger
        self._accounts: dict[str, _Account] = {}

    def query(self, account_id: str, images: np.ndarray) -> Reply:
        """Judge and answer a batch [n, c, h, w] in [0, 1], image by image in its order.

        What follows a ban inside the batch is refused unjudged, and a memory of all accounts never sees it.
        The victim is asked for the whole batch before it is judged. Raises `RedhandedError` for anything but
        images; nothing of such a batch is judged or answered.
        """
        images = check_images(images)
        banned = self.ledger.ban(account_id) is not None
        if banned or len(images) == 0:
            return self._refuse(images, banned=banned)
        rows = self.detector.features(images)
        # the whole batch, before the verdict: a victim that fails leaves no trace, so the client that sends
        # the same again is not judged by its own retry
        answers = np.asarray(self.victim(images))
        if len(answers) != len(images):
            raise RedhandedError(
                f"victim: gave {len(answers)} answers to {len(images)} images; it must return a row for each"
            )
        width = rows.shape[1]
        if self.detector.needs_outputs:
            rows = np.hstack([rows, answers.astype(np.float32)])
        mine, banned = self._judge(account_id, rows, width)
        answered = mine.judged - (self.mode == "enforce" and mine.banned_at is not None)
        if answered == 0:
            return self._refuse(images, banned=banned, verdict=mine)
        return Reply(answers[:answered], len(images) - answered, banned, mine)

    def _judge(self, account_id: str, rows: FeatureArray, width: int) -> tuple[Verdict, bool]:
        """Log rows and judge them after all earlier ones; return whether the account is closed."""
        shared = self.detector.scope == "global"
        owner = GLOBAL if shared else account_id
        # setdefault is atomic: of two threads that meet a new account, both get the first one's
        account = self._accounts.get(owner) or self._accounts.setdefault(
            owner, _Account(self.detector.new_memory())
        )
        # a memory of all accounts outlives the ban, so what the ban cuts off must not get into it: the next
        # account would be judged by its own query
        parts = np.split(rows, len(rows)) if shared else [rows]
        verdicts: list[Verdict] = []
        with account.lock:
            for part in parts:
                verdict = self._commit(account, account_id, owner, part, width)
                if verdict is None:
                    break
                verdicts.append(verdict)
                if verdict.banned_at is not None:
                    break
            if account.memory.banned:  # the ledger remembers the ban; nobody needs the history any more
                self._accounts.pop(owner, None)
            mine = Verdict.joined(verdicts)
            return mine, mine.banned_at is not None or account.memory.banned or len(verdicts) == 0

    def _commit(
        self, account: _Account, account_id: str, owner: str, rows: FeatureArray, width: int
    ) -> Verdict | None:
        """Append rows to the log and fold it up to their end; None if the account was closed meanwhile."""
        try:
            position, unseen = self.ledger.append(owner, rows, account.seen)
            if len(unseen) == 0:
                return None
            others = position - account.seen  # rows that other replicas took
            theirs = self._fold(account.memory, unseen[:others], width)
            mine = self._fold(account.memory, unseen[others:], width)
            account.seen += len(unseen)
            if mine.banned_at is not None:
                self.ledger.close(account_id, Ban(position + mine.banned_at))
            elif theirs.banned_at is not None and self.detector.scope == "account":
                self.ledger.close(account_id, Ban(position - others + theirs.banned_at))
        except BaseException:
            # perhaps half folded, perhaps not closed: the log knows better
            account.memory, account.seen = self.detector.new_memory(), 0
            raise
        return mine

    def _fold(self, memory: Any, rows: FeatureArray, width: int) -> Verdict:
        """Judge logged rows (features, then outputs if needed); return the verdict up to the first ban.

        A memory of scope "global" outlives it, so there the rest is judged as well: every replica must
        remember the same.
        """
        outputs = rows[:, width:] if self.detector.needs_outputs else None
        verdict = self.detector.update(memory, rows[:, :width], outputs)
        at, last = verdict.judged, verdict
        while self.detector.scope == "global" and last.banned_at is not None:
            last = self.detector.update(memory, rows[at:, :width], None if outputs is None else outputs[at:])
            at += last.judged
        return verdict

    def _refuse(self, images: ImageArray, *, banned: bool, verdict: Verdict | None = None) -> Reply:
        return Reply(np.empty((0, 0), np.float32), len(images), banned, verdict or Verdict.joined([]))
