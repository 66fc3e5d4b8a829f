"""Hand out cells whose needs are done, most valuable first, and hear how each ended."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

from redhanded.errors import OutOfTimeError, RedhandedError
from redhanded.experiments.runner.context import Cell, Context
from redhanded.experiments.runner.run import Started, fits, raised_at

TRIES = 3
"""How often a cell is handed out whose workers die."""
GRACE = 10.0
"""Seconds after the limit at which workers that have not stopped by themselves are stopped."""


class WorkerDiedError(Exception):
    """A worker ended without a word: killed, or out of memory."""


@runtime_checkable
class Executor(Protocol):
    """Measures cells elsewhere, `slots` of them at once."""

    @property
    def slots(self) -> int: ...

    def start(self, cell: Cell) -> None: ...

    def ended(self, patience: float | None) -> tuple[Cell, Exception | None] | None:
        """Wait for a cell to end, at most so many seconds, and return it with what it raised.

        `WorkerDiedError` says that its worker died, `OutOfTimeError` that the limit came first.
        """


Lost = Callable[[Cell, str], None]
"""Told (cell, how its worker died) when the cell will be handed out again."""
Opened = Callable[[Context, float | None], AbstractContextManager[Executor]]
"""(context, stop) to an executor, all of whose workers have ended when it is closed."""


def in_parallel(
    order: Sequence[Cell],
    context: Context,
    stop: float | None,
    started: Started,
    *,
    opened: Opened,
    lost: Lost,
) -> list[Cell]:
    """Measure the cells of a plan with an executor: an `Engine` but for its last arguments.

    A cell that raises ends the handing out; what runs beside it is waited for, then its error is raised.
    A cell whose worker dies is handed out again, `TRIES` times in all.
    """
    if not order:
        return []  # nothing to start workers for
    queue = _Queue(order, context, stop)
    errors: list[Exception] = []
    tries = Counter[int]()
    with (
        opened(context, stop) as executor,
        raised_at("SIGTERM", KeyboardInterrupt),  # by default nothing is cleaned up, no worker stopped
        context.reporter(f"{len(order)} cells") as progress,
    ):
        while True:
            while not errors and len(queue.running) < executor.slots and (place := queue.take()) is not None:
                started(order[place], place, len(order))
                executor.start(order[place])
                tries[place] += 1
            if not queue.running:
                break
            heard = executor.ended(None if stop is None else max(0.0, stop + GRACE - time.monotonic()))
            if heard is None:
                break  # stuck, or never begun: closing the executor ends it
            cell, error = heard
            place = queue.place[cell]
            queue.give_back(place, error)
            if error is None:
                progress(len(queue.made), len(order))
            elif isinstance(error, WorkerDiedError) and tries[place] < TRIES:
                lost(cell, str(error))
            elif not isinstance(error, OutOfTimeError):
                errors.append(_told(cell, error))
    if errors:
        raise errors[0]
    return [order[place] for place in queue.made]


class _Queue:
    """Places of a plan's cells: which wait, which run, and which are made, in the order of their ends."""

    def __init__(self, order: Sequence[Cell], context: Context, stop: float | None) -> None:
        self.order, self.context, self.stop = order, context, stop
        self.place = {cell: place for place, cell in enumerate(order)}
        self.after = [{self.place[need] for need in cell.needs if need in self.place} for cell in order]
        self.waiting = set(range(len(order)))
        self.running: set[int] = set()
        self.made: dict[int, None] = {}

    def take(self) -> int | None:
        """Return the first that can run now; what never can, for want of time or of a need, leaves."""
        for place in sorted(self.waiting):
            if self.after[place] & (self.waiting | self.running):
                continue
            self.waiting.remove(place)
            if self._has_needs(place) and fits(self.order[place], self.context, self.stop):
                self.running.add(place)
                return place
        return None

    def give_back(self, place: int, error: Exception | None) -> None:
        """Take one off those that run: it is made, waits again for another worker, or is left."""
        self.running.remove(place)
        if error is None:
            self.made[place] = None
        elif isinstance(error, WorkerDiedError):
            self.waiting.add(place)

    def _has_needs(self, place: int) -> bool:
        """Whether nothing it needs was passed over; what was made elsewhere may not be seen here yet."""
        return all(
            self.place.get(need) in self.made or self.context.store.artefact(need) is not None
            for need in self.order[place].needs
        )


def _told(cell: Cell, error: Exception) -> Exception:
    if not isinstance(error, WorkerDiedError):
        return error
    return RedhandedError(
        f"{cell.label}: its worker died {TRIES} times ({error}); free memory or use fewer --jobs, "
        "then run the same command to go on"
    )
