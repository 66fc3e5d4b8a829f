"""The ledger of tests and of the lab: everything in this process's memory, gone with it."""

from collections import defaultdict
from threading import Lock

import numpy as np

from redhanded.guard.ledger.base import Ban
from redhanded.types import Float32


class MemoryLedger:
    """Logs as lists of rows."""

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
