"""What every ledger is: an append-only log of feature rows per account, and the list of closed accounts."""

from dataclasses import dataclass
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
