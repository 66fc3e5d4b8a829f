"""The thief's client: goes on under a new account whenever the guard closes one (§II-B, Sybil accounts)."""

from collections.abc import Iterator
from itertools import count

import numpy as np
import torch

from redhanded.detectors.base import Verdict
from redhanded.errors import RedhandedError
from redhanded.guard import Guard
from redhanded.lab.types import Images, Outputs
from redhanded.types import ImageArray, OutputArray

STUBBORN = 3
"""Fresh accounts in a row that may get no answer at all before the client gives up."""


class SybilClient:
    """An oracle over a guard: one account until it is banned, then the next.

    `verdicts` keeps what the guard judged, in the order sent: in mode `enforce` a refused query is sent
    again from the next account, and judged again there.
    """

    def __init__(self, guard: Guard, prefix: str = "thief") -> None:
        """Open the first account."""
        self.guard = guard
        self._names = (f"{prefix}-{n}" for n in count(1))
        self.account = next(self._names)
        self.verdicts: list[Verdict] = []
        self.bans: list[int] = []
        """Places, among all judged queries, of those that closed an account."""
        self.judged = 0
        self._used: set[str] = set()

    @property
    def accounts_used(self) -> int:
        """Accounts that sent at least one query."""
        return len(self._used)

    @property
    def flags(self) -> int:
        """Flags over all accounts."""
        return sum(verdict.flags for verdict in self.verdicts)

    def answers(self, images: ImageArray) -> Iterator[OutputArray]:
        """Yield answers until every image has one, changing accounts on the way."""
        unanswered = 0
        while len(images):
            fresh = self.account not in self._used
            self._used.add(self.account)
            reply = self.guard.query(self.account, images)
            self.verdicts.append(reply.verdict)
            if reply.verdict.banned_at is not None:
                self.bans.append(self.judged + reply.verdict.banned_at)
            self.judged += reply.verdict.judged
            if len(reply.outputs):
                yield reply.outputs
            images = images[len(reply.outputs) :]
            unanswered = 0 if len(reply.outputs) else unanswered + fresh
            if unanswered >= STUBBORN:
                raise RedhandedError(
                    f"guard: {STUBBORN} fresh accounts in a row were refused their first query; "
                    "flags_to_ban is too low for any account to live"
                )
            if reply.banned:
                self.account = next(self._names)

    def __call__(self, images: Images) -> Outputs:
        """Return outputs [n, classes] for images [n, c, h, w] on any device."""
        parts = list(self.answers(images.detach().cpu().numpy()))
        outputs = np.concatenate(parts) if parts else np.empty((0, 0), np.float32)
        return torch.from_numpy(outputs).to(images.device)
