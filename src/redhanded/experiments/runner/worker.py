"""What runs in another process: one cell, measured by the runner of one process."""

import os
import pickle
import sys
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from redhanded.errors import OutOfTimeError, RedhandedError
from redhanded.experiments.runner.context import Cell, Context
from redhanded.experiments.runner.run import run_cells
from redhanded.experiments.runner.store import Store
from redhanded.lab.data.archive import ENVIRONMENT


@dataclass(frozen=True)
class Task:
    """A cell, and all that a process which may be on another machine must know to measure it."""

    cell: Cell
    records: Path
    artefacts: Path
    device: str
    until: float | None
    """`time.time()` of the limit: monotonic clocks of two machines have nothing in common."""
    threads: int
    data: str | None = None
    """Folder of the image archives; None: as the process knows it."""


def task_of(
    cell: Cell, context: Context, stop: float | None, *, device: str, threads: int, data: str | None = None
) -> Task:
    """Return the task of a cell that must end at `stop` (`time.monotonic()` of this machine)."""
    store = context.store
    until = None if stop is None else time.time() + stop - time.monotonic()
    return Task(cell, store.records.resolve(), store.artefacts.resolve(), device, until, threads, data)


def work(task: Task, patience: float = 60.0) -> Exception | None:
    """Measure the task's cell; return what it raised, `OutOfTimeError` if the limit came before its end.

    `patience` is how long a need that another machine made may take to be seen here (seconds).
    """
    try:
        torch.set_num_threads(task.threads)
        if task.data is not None:
            os.environ[ENVIRONMENT] = task.data
        context = Context(Store(task.records, task.artefacts), torch.device(task.device))
        _await_needs(task.cell, context.store, patience)
        left = None if task.until is None else task.until - time.time()
        outcome = run_cells([task.cell], context, time_limit=left, artefacts=True)
    except Exception as error:  # noqa: BLE001 - the process that asked decides
        return _portable(error)
    return OutOfTimeError("time limit") if outcome.left else None


def serve(handle: int) -> None:
    """Do tasks as they arrive at this end of a pipe until it is closed; end at once when the parent has."""
    pipe: Connection = Connection(handle)
    threading.Thread(target=_follow_parent, daemon=True).start()
    with suppress(EOFError):
        while True:
            pipe.send(work(pipe.recv()))


def _follow_parent() -> None:
    """Standard input is a pipe that nobody writes to: it ends with the parent, however that ends.

    Read without Python's buffer, whose lock would be a fatal error where `serve` ends first.
    """
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


def _await_needs(cell: Cell, store: Store, patience: float) -> None:
    """Wait for folders of other machines to be seen; the runner would make missing needs a second time."""
    end = time.monotonic() + patience
    while lacking := [need for need in cell.needs if store.artefact(need) is None or not store.record(need)]:
        if time.monotonic() >= end:
            raise RedhandedError(
                f"artefacts: a worker of {cell.label} does not see those of {lacking[0].label}; "
                "--out and --artefacts must be folders that all machines share"
            )
        time.sleep(0.5)


def _portable(error: Exception) -> Exception:
    """Return what can be sent: the error with its traceback as a note, or the text of both."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    except Exception:  # noqa: BLE001 - an error may refuse in any way
        return RuntimeError("".join(traceback.format_exception(error)))
    return error
