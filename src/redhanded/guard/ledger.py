"""Where the accounts live: an append-only log of feature rows for each, and the list of closed ones."""

from collections import defaultdict
from dataclasses import dataclass
from threading import Lock
from typing import Protocol, runtime_checkable

import numpy as np

from redhanded.types import Float32


@dataclass(frozen=True)
class Ban:
    """Why an account was closed: the place in its log of the query that did it."""

    position: int


@runtime_checkable
class Ledger(Protocol):
    """An append-only log per account. No lock is held across calls."""

    def append(
        self, account_id: str, rows: Float32[np.ndarray, "n d"], seen: int
    ) -> tuple[int, Float32[np.ndarray, "m d"]]:
        """Append `rows`; return the place of the first, and all rows from place `seen` on, these included.

        A closed account takes no rows, and its own need not be kept: then no rows come back.
        """
        ...

    def close(self, account_id: str, ban: Ban) -> None:
        """Close the account for good; closing it again changes nothing."""
        ...

    def ban(self, account_id: str) -> Ban | None:
        """Return why the account is closed, or None if it is open."""
        ...


class MemoryLedger:
    """The ledger of tests and of the lab: logs in this process's memory, gone with it."""

    def __init__(self) -> None:
        self._logs: defaultdict[str, list[Float32[np.ndarray, " d"]]] = defaultdict(list)
        self._bans: dict[str, Ban] = {}
        self._lock = Lock()

    def append(
        self, account_id: str, rows: Float32[np.ndarray, "n d"], seen: int
    ) -> tuple[int, Float32[np.ndarray, "m d"]]:
        with self._lock:
            if account_id in self._bans:
                return self._bans[account_id].position + 1, rows[:0]
            log = self._logs[account_id]
            position = len(log)
            log.extend(rows.copy())  # the caller may reuse its array
            unseen = log[seen:]
        return position, np.stack(unseen) if unseen else rows[:0]

    def close(self, account_id: str, ban: Ban) -> None:
        """Close the account for good; the first ban stands. Nobody needs the log any more."""
        with self._lock:
            self._bans.setdefault(account_id, ban)
            self._logs.pop(account_id, None)

    def ban(self, account_id: str) -> Ban | None:
        return self._bans.get(account_id)
