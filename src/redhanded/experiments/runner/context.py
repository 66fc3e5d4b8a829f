"""What a running cell may use: the store, the device, the clock, and a way to report progress."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch

from redhanded.experiments.runner.store import Keyed, Record, Store
from redhanded.lab.training import Checkpoint, Progress

Reporter = Callable[[str], AbstractContextManager[Progress]]
"""Opens a progress bar with a title; the bar is told (done, of)."""


def silent(title: str) -> AbstractContextManager[Progress]:
    del title
    return nullcontext(lambda done, of: None)  # noqa: ARG005 - a Progress takes two numbers


@runtime_checkable
class Cell(Keyed, Protocol):
    """A frozen value that says what is measured.

    `needs` are cells whose records or artefacts it reads; `described` is every varied field, flat.
    """

    @property
    def needs(self) -> tuple["Cell", ...]: ...

    @property
    def resumes(self) -> bool:
        """Whether a cell cut short goes on from its last checkpoint rather than from its start."""

    def run(self, context: "Context") -> Record:
        """Measure; artefacts go to `context.store.scratch(self)`."""

    def described(self) -> Record: ...


@dataclass
class Context:
    """Handed to every cell."""

    store: Store
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    reporter: Reporter = silent
    deadline: float | None = None
    """`time.monotonic()` at which checkpointed work saves itself and stops."""

    def artefact(self, cell: Cell) -> Path:
        """Return the folder of a needed cell's artefacts; the runner has made it."""
        if (path := self.store.artefact(cell)) is None:
            raise LookupError(f"{cell.label}: artefacts are missing; the runner makes them first")
        return path

    def record(self, cell: Cell) -> Record:
        if (record := self.store.record(cell)) is None:
            raise LookupError(f"{cell.label}: record is missing; the runner makes it first")
        return record

    def checkpoint(self, cell: Cell, name: str) -> Checkpoint:
        return Checkpoint(self.store.scratch(cell) / f"{name}.checkpoint.pt", deadline=self.deadline)

    def generator(self, cell: Cell) -> torch.Generator:
        """Return the cell's source of randomness, seeded by its key."""
        return torch.Generator().manual_seed(int(cell.key[:15], 16))
