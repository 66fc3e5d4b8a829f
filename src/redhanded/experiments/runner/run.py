"""Run unfinished cells, most valuable first, within a time limit; resume anywhere."""

import json
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from redhanded.errors import OutOfTimeError
from redhanded.experiments.runner.context import Cell, Context
from redhanded.experiments.runner.provenance import provenance
from redhanded.files import whole

SECONDS = "seconds.checkpoint.txt"
"""Where a cell that goes on later leaves what it took so far."""
AGAIN = 5.0
"""Seconds after which the alarm at the limit rings again: a callback that PyTorch runs may swallow it."""
RESERVE = 2.0
"""Seconds before the limit at which checkpointed work starts to save itself."""


@dataclass(frozen=True)
class Outcome:
    """What a run did: cells measured now, found finished, and left for the next run."""

    measured: tuple[Cell, ...]
    finished: tuple[Cell, ...]
    left: tuple[Cell, ...]


Started = Callable[[Cell, int, int], None]
"""Told (cell, its place in the plan, cells in the plan)."""
Engine = Callable[[Sequence[Cell], Context, float | None, Started], list[Cell]]
"""Measures the cells of a plan until `stop` (`time.monotonic()`), tells which it starts, returns what it did.

It raises what a cell raised, once nothing runs any more.
"""


def in_turn(order: Sequence[Cell], context: Context, stop: float | None, started: Started) -> list[Cell]:
    """Measure one cell after the other, in this process."""
    context.deadline = None if stop is None else stop - RESERVE
    measured: list[Cell] = []
    try:
        with _alarm(stop):
            for place, cell in enumerate(order):
                passed_over = any(context.store.artefact(need) is None for need in cell.needs)
                if passed_over or not fits(cell, context, stop):
                    continue
                started(cell, place, len(order))
                if _measured(cell, context):
                    measured.append(cell)
    except Exception as error:
        if not _out_of_time(error):
            raise
    return measured


def run_cells(
    cells: Sequence[Cell],
    context: Context,
    *,
    time_limit: float | None = None,
    artefacts: bool = False,
    started: Started = lambda cell, place, of: None,  # noqa: ARG005 - announces nothing
    engine: Engine = in_turn,
) -> Outcome:
    """Measure every cell that has no record, its needs first, and stop cleanly at the limit (seconds).

    With `artefacts`, a cell whose record is here without its artefacts (records are committed, artefacts
    are not) runs again to make them; its record stays as it was.

    A cell that cannot save itself half-way is not started when its like took longer than what is left.
    """
    stop = None if time_limit is None else time.monotonic() + time_limit

    def done(cell: Cell) -> bool:
        here = context.store.artefact(cell) is not None or not artefacts
        return here and context.store.record(cell) is not None

    finished = tuple(cell for cell in cells if done(cell))
    todo = [cell for cell in cells if not done(cell)]
    measured = engine(plan(todo, context), context, stop, started)
    return Outcome(tuple(measured), finished, tuple(cell for cell in cells if not done(cell)))


def plan(cells: Sequence[Cell], context: Context) -> list[Cell]:
    """Return what must run for `cells` to get records: needs without record or artefacts come first."""
    order: dict[Cell, None] = {}

    def visit(cell: Cell) -> None:
        for need in cell.needs:
            if context.store.record(need) is None or context.store.artefact(need) is None:
                visit(need)
        order.setdefault(cell)

    for cell in cells:
        visit(cell)
    return list(order)


def _measured(cell: Cell, context: Context) -> bool:
    """Measure a cell unless another process did so while this one waited for it; return whether."""
    with context.store.alone(cell, context.reporter):
        if context.store.record(cell) is not None and context.store.artefact(cell) is not None:
            return False
        _measure(cell, context)
    return True


def _measure(cell: Cell, context: Context) -> None:
    scratch = context.store.scratch(cell)
    earlier = scratch / SECONDS
    going_on = earlier.is_file() and any(path != earlier for path in scratch.glob("*.checkpoint.*"))
    spent = float(earlier.read_text(encoding="utf-8")) if going_on else 0.0
    began = time.perf_counter()
    try:
        found = cell.run(context)
    except BaseException:
        if cell.resumes:  # what it did so far is part of what its result will have cost
            with whole(earlier) as partial:
                partial.write_text(str(spent + time.perf_counter() - began), encoding="utf-8")
        raise
    if context.store.record(cell) is None:  # artefacts made again do not rewrite what was measured
        seconds = {"seconds": round(spent + time.perf_counter() - began, 2)}
        record = cell.described() | found | seconds | {"key": cell.key} | provenance(context.device)
        context.store.save_record(cell, record)
    for path in scratch.glob("*.checkpoint.*"):
        path.unlink()
    context.store.keep(cell)


def fits(cell: Cell, context: Context, stop: float | None) -> bool:
    """Whether the cell can be started: it saves itself half-way, or its like took less than what is left."""
    if stop is None:
        return True
    left = stop - time.monotonic()
    if left <= RESERVE:
        return False
    if cell.resumes:
        return True
    # its like differs in the seed alone; 25 seeds are not like 250, nor cifar10 like cifar100
    named = re.compile(re.escape(cell.label.rpartition("-")[0]) + r"-[^-]+-[0-9a-f]{16}")
    like = []
    for path in context.store.records.glob("*.json"):
        if named.fullmatch(path.stem):
            with suppress(OSError, ValueError, KeyError, TypeError):
                like.append(float(json.loads(path.read_text(encoding="utf-8"))["seconds"]))
    return not like or min(like) <= left


def _out_of_time(error: BaseException | None) -> bool:
    """Whether the limit is behind an error; a library that the alarm interrupts may raise one of its own."""
    while error is not None and not isinstance(error, OutOfTimeError):
        error = error.__cause__ or error.__context__
    return error is not None


@contextmanager
def raised_at(name: str, error: type[BaseException], *said: str) -> Iterator[bool]:
    """Raise an error in the main thread at a signal, whatever it is doing; results are atomic.

    Yields whether it can: other threads have no signals, and some systems lack some.
    """
    number = getattr(signal, name, None)
    if number is None or threading.current_thread() is not threading.main_thread():
        yield False
        return

    def interrupt(_number: int, _frame: object) -> None:
        raise error(*said)

    before = signal.signal(number, interrupt)
    try:
        yield True
    finally:
        signal.signal(number, before)


@contextmanager
def _alarm(stop: float | None) -> Iterator[None]:
    """Raise `OutOfTimeError` at the limit, and again every few seconds until this has ended."""
    with ExitStack() as stack:
        if stop is not None and stack.enter_context(raised_at("SIGALRM", OutOfTimeError, "time limit")):
            stack.callback(signal.setitimer, signal.ITIMER_REAL, 0)
            signal.setitimer(signal.ITIMER_REAL, max(0.01, stop - time.monotonic()), AGAIN)
        yield
