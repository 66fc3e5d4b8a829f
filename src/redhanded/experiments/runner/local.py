"""Several processes of this machine."""

import os
import signal
import subprocess
import sys
from contextlib import closing, suppress
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch

from redhanded.experiments.runner.context import Cell, Context
from redhanded.experiments.runner.run import Engine, in_turn
from redhanded.experiments.runner.scheduler import Lost, WorkerDiedError, in_parallel
from redhanded.experiments.runner.worker import task_of

MOST = 8
"""Processes started without being asked for more: each holds PyTorch and a cell's images."""
DYING = 5.0
"""Seconds that a worker whose pipe has ended may take to end itself."""
SERVE = "from redhanded.experiments.runner.worker import serve; serve({})"


def local(jobs: int | None, device: torch.device, lost: Lost) -> Engine:
    """Return what measures `jobs` cells at once; one at a time in this very process.

    By default as many as there are processor cores, at most 8, and on a GPU one. They share the threads that
    one process would use.
    """
    jobs = jobs or jobs_of(device)
    if jobs == 1:
        return in_turn
    return partial(in_parallel, opened=lambda *run: closing(Processes(jobs, *run)), lost=lost)


def jobs_of(device: torch.device) -> int:
    """Return how many cells one machine measures at once if nobody says."""
    if device.type != "cpu" or os.name != "posix":  # pipes are handed to workers as POSIX does it
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST, cores)


class Processes:
    """Workers, started when first needed, replaced when they die, killed at the end; results are atomic."""

    def __init__(self, jobs: int, context: Context, stop: float | None) -> None:
        self.slots = jobs
        self._context, self._stop = context, stop
        self._threads = max(1, torch.get_num_threads() // jobs)
        self._idle: list[_Worker] = []
        self._busy: dict[Any, tuple[_Worker, Cell]] = {}

    def start(self, cell: Cell) -> None:
        device = str(self._context.device)
        task = task_of(cell, self._context, self._stop, device=device, threads=self._threads)
        worker = self._idle.pop() if self._idle else _Worker(self._threads)
        self._busy[worker.pipe] = worker, cell
        with suppress(ConnectionError):  # it died while it was idle; `ended` hears of it
            worker.pipe.send(task)

    def ended(self, patience: float | None) -> tuple[Cell, Exception | None] | None:
        """Wait for a cell to end; a pipe that ends without an answer is a dead worker."""
        ready = wait(list(self._busy), patience)
        if not ready:
            return None
        worker, cell = self._busy.pop(ready[0])
        try:
            error: Exception | None = worker.pipe.recv()
        except (EOFError, ConnectionError):
            return cell, WorkerDiedError(worker.close(DYING))
        self._idle.append(worker)
        return cell, error

    def close(self) -> None:
        for worker in (*self._idle, *(worker for worker, _ in self._busy.values())):
            worker.close()


class _Worker:
    """A process with a pipe for tasks, in a session of its own: a terminal's Control-C is the parent's."""

    def __init__(self, threads: int) -> None:
        self.pipe, theirs = Pipe()
        # modules are found where this process finds them, in its working directory only if it does so
        found = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        self.process = subprocess.Popen(  # noqa: S603 - this interpreter, on a line from here
            [sys.executable, "-P", "-c", SERVE.format(theirs.fileno())],
            stdin=subprocess.PIPE,  # ends with this process, and the worker with it
            stdout=subprocess.DEVNULL,  # results are this process's to print
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
            env=os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": found},
        )
        theirs.close()

    def close(self, patience: float = 0.0) -> str:
        """Kill the process unless it ends within so many seconds, and return how it ended."""
        try:
            code = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.pipe.close()
        if self.process.stdin is not None:
            self.process.stdin.close()
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
