"""Where the accounts' logs live."""

from redhanded.guard.ledger.base import Ban, Ledger
from redhanded.guard.ledger.memory import MemoryLedger

__all__ = ["Ban", "Ledger", "MemoryLedger"]
