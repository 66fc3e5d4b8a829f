"""The guard: victim, detector and ledger meet here and nowhere else. Importing this never imports torch."""

from redhanded.guard.guard import Guard, Mode, Reply
from redhanded.guard.ledger import Ban, Ledger, MemoryLedger

__all__ = ["Ban", "Guard", "Ledger", "MemoryLedger", "Mode", "Reply"]
