"""Detectors that judge an attack as it goes, and the file from which it goes on."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from redhanded.detectors.accounts import Accounts
from redhanded.detectors.base import Arrays, Detector
from redhanded.detectors.intervals import clopper_pearson
from redhanded.experiments.measure.characterise import Characteriser
from redhanded.experiments.measure.steal import Tally
from redhanded.experiments.runner.store import Record
from redhanded.lab.training import Checkpoint, State
from redhanded.lab.types import Round


@dataclass
class Bench:
    """A detector in the loop, before which the thief goes on with a new account at every ban.

    Verdicts are those of `replay` in mode `paper`; only their sums are kept.
    """

    detector: Detector[Any]
    queries: int = 0
    flagged: int = 0
    """Queries that were flagged, however often each."""
    flags: int = 0
    bans: int = 0
    opened: int = 0
    """Queries before the account that is open now."""
    seconds: float = 0.0
    _accounts: Accounts = field(init=False)

    def __post_init__(self) -> None:
        self._accounts = Accounts(self.detector)

    def __call__(self, part: Round) -> None:
        if not len(part.sent):
            return
        began = time.perf_counter()
        rows = self.detector.features(part.sent.cpu().numpy())
        outputs = part.labels.cpu().numpy() if self.detector.needs_outputs else None
        for verdict in self._accounts.judge(rows, outputs):
            self.queries += verdict.judged
            self.flagged += int((verdict.counts > 0).sum())
            self.flags += verdict.flags
            if verdict.banned_at is not None:
                self.bans += 1
                self.opened = self.queries
        self.seconds += time.perf_counter() - began

    def found(self) -> Record:
        low, high = clopper_pearson(self.flagged, self.queries)
        return {
            "flag_rate": self.flagged / max(self.queries, 1),
            "flag_rate_low": low,
            "flag_rate_high": high,
            "flags": self.flags,
            "bans": self.bans,
            "accounts_used": self.bans + (self.queries > self.opened),
            "judging_seconds": round(self.seconds, 3),
        }

    def dump(self) -> tuple[Arrays, Record]:
        sums = {
            f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("detector", "_accounts")
        }
        return self._accounts.dump(), sums

    def restore(self, memory: Mapping[str, np.ndarray], sums: Record) -> None:
        self._accounts.restore(memory)
        for name, value in sums.items():
            setattr(self, name, value)


@runtime_checkable
class Remembering(Protocol):
    """What goes on from where it stopped: a bench, or a thief's filter; `dump` returns memory and counts."""

    def dump(self) -> tuple[Arrays, Record]: ...

    def restore(self, memory: Mapping[str, np.ndarray], counts: Record) -> None: ...


@dataclass
class SaveFile:
    """All that a watched attack needs to go on, in one file that appears whole or not at all: its `Saver`.

    Args:
        checkpoint: where and how often it is saved, and when the attack has to stop.
        memories: by name, whatever has a memory; their own `restore` is called with it.
    """

    checkpoint: Checkpoint
    tally: Tally
    watch: Characteriser
    memories: Mapping[str, Remembering]
    _attack: State = field(default_factory=dict)

    def load(self) -> State:
        return self._attack

    def offer(self, state: Callable[[], State]) -> None:
        """Save everything every so often, and at the deadline, which stops the attack.

        Raises:
            OutOfTimeError: the deadline came.
        """
        self.checkpoint.offer(lambda: {"attack": state(), **self._beside()})

    def _beside(self) -> State:
        dumps = {name: memory.dump() for name, memory in self.memories.items()}
        return {
            "tally": asdict(self.tally),
            "watch": self.watch.dump(),
            "memories": {
                name: ({part: torch.tensor(value) for part, value in arrays.items()}, counts)
                for name, (arrays, counts) in dumps.items()
            },
        }

    def restore(self) -> None:
        stored = self.checkpoint.load()
        if not stored:
            return
        self.tally.__dict__.update(stored["tally"])
        self.watch.restore(stored["watch"])
        for name, memory in self.memories.items():
            tensors, counts = stored["memories"][name]
            memory.restore({part: value.numpy() for part, value in tensors.items()}, counts)
        self._attack = stored["attack"]
