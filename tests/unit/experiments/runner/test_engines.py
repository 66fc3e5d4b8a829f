"""Engines: cells in plan order after their needs; deaths, errors and limits lose and double nothing."""

import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import Pipe
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from redhanded.errors import OutOfTimeError, RedhandedError
from redhanded.experiments.runner.cluster import cluster
from redhanded.experiments.runner.context import Context
from redhanded.experiments.runner.keys import key_of
from redhanded.experiments.runner.local import MOST, SERVE, jobs_of, local
from redhanded.experiments.runner.run import in_turn, run_cells
from redhanded.experiments.runner.scheduler import GRACE, WorkerDiedError, in_parallel
from redhanded.experiments.runner.store import Store
from redhanded.experiments.runner.worker import Task, work

ROOT = Path(__file__).parents[4]
CPU = torch.device("cpu")


class OddError(Exception):
    """Cannot be made again from its arguments."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


@dataclass(frozen=True)
class Step:
    """Appends its process to a file named after it, then does what its name's `does` says."""

    name: str
    after: tuple["Step", ...] = ()
    does: str = "nothing"
    resumes: ClassVar[bool] = False

    @property
    def key(self):
        return key_of(self)

    @property
    def label(self):
        return f"step-{self.name}"

    @property
    def needs(self):
        return self.after

    def described(self):
        return {"kind": "step", "name": self.name}

    def run(self, context):
        root = context.store.records.parent
        with (root / f"ran-{self.name}").open("a") as log:
            log.write(f"{os.getpid()}\n")
        if self.does == "die once" and len((root / f"ran-{self.name}").read_text().split()) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.does == "raise":
            raise RedhandedError("images: damaged; fetch them again")
        if self.does == "raise oddly":
            raise OddError(1, 2)
        while self.does == "wait" and not (root / "go").exists():
            time.sleep(0.01)
        (context.store.scratch(self) / "made").write_text(self.name)
        return {"made": self.name, "process": os.getpid()}


A = Step("a")
B = Step("b", (A,))
C = Step("c")
D = Step("d", (B, C))


@pytest.fixture
def context(tmp_path):
    return Context(Store(tmp_path / "records", tmp_path / "artefacts"))


class Acting:
    """Runs the cell that was started first, in this process, or ends it as a script says."""

    def __init__(self, context, slots=2, **endings):
        self.context, self.slots, self.endings = context, slots, endings
        self.begun, self.running, self.patience = [], [], []

    def start(self, cell):
        assert len(self.running) < self.slots
        assert cell not in self.running
        assert all(self.context.store.record(need) for need in cell.needs)
        self.begun.append(cell.name)
        self.running.append(cell)

    def ended(self, patience):
        self.patience.append(patience)
        cell = self.running.pop(0)
        if self.endings.get(cell.name):
            return cell, self.endings[cell.name].pop(0)
        run_cells([cell], self.context, artefacts=True)
        return cell, None


def run_with(executor, cells, **options):
    """Run cells with an executor; returns what happened and which losses were told."""
    losses = []
    engine = partial(
        in_parallel,
        opened=lambda context, stop: nullcontext(executor),
        lost=lambda cell, how: losses.append((cell.name, how)),
    )
    return run_cells(cells, executor.context, engine=engine, **options), losses


def test_the_most_valuable_cell_whose_needs_are_done_is_next(context):
    """B waits for A and is overtaken by C; places are those of the plan."""
    acting, told = Acting(context), []
    outcome, _ = run_with(acting, [D], started=lambda cell, place, of: told.append((cell.name, place, of)))
    assert told == [("a", 0, 4), ("c", 2, 4), ("b", 1, 4), ("d", 3, 4)]
    assert [cell.name for cell in outcome.measured] == ["a", "c", "b", "d"]
    assert (outcome.finished, outcome.left) == ((), ())
    again, _ = run_with(Acting(context), [D])
    assert (again.measured, again.finished) == ((), (D,))


def test_one_slot_keeps_the_plan(context):
    """As the run of one process does."""
    acting = Acting(context, slots=1)
    run_with(acting, [D, C])
    assert acting.begun == ["a", "b", "c", "d"]


def test_a_cell_whose_worker_dies_is_handed_out_again(context):
    """Twice, before anything less valuable."""
    died = [WorkerDiedError("signal SIGKILL"), WorkerDiedError("signal SIGKILL")]
    acting = Acting(context, slots=1, a=died)
    outcome, losses = run_with(acting, [B, C])
    assert acting.begun == ["a", "a", "a", "b", "c"]
    assert losses == [("a", "signal SIGKILL")] * 2
    assert outcome.left == ()


def test_a_third_death_is_one_line_and_costs_the_others_nothing(context):
    """What ran beside it is kept."""
    died = [WorkerDiedError("signal SIGKILL") for _ in range(9)]
    acting = Acting(context, a=died)
    with pytest.raises(RedhandedError, match=r"^step-a: its worker died 3 times \(signal SIGKILL\)"):
        run_with(acting, [B, C])
    assert acting.begun.count("a") == 3
    assert context.store.record(C) is not None


def test_an_error_stops_the_handing_out_and_waits_for_the_others(context):
    """C runs when A fails; it is waited for, nothing else is begun, and the error is raised as it was."""
    acting = Acting(context, a=[RedhandedError("images: damaged")])
    with pytest.raises(RedhandedError, match=r"^images: damaged$"):
        run_with(acting, [A, C, Step("e"), Step("f")])
    assert acting.begun == ["a", "c"]
    assert context.store.record(C) is not None


def test_a_cell_out_of_time_is_left_with_what_needs_it(context):
    """Others go on."""
    acting = Acting(context, a=[OutOfTimeError("time limit")])
    outcome, _ = run_with(acting, [D])
    assert acting.begun == ["a", "c"]
    assert outcome.measured == (C,)
    assert outcome.left == (D,)


def test_what_does_not_fit_is_not_begun_and_nothing_is_waited_for_long_after_the_limit(context):
    """Like the run of one process; the wait ends a little after the limit even if a worker is stuck."""
    context.store.save_record(Step("slow-0"), {"seconds": 1000.0})
    acting = Acting(context)
    outcome, _ = run_with(acting, [Step("slow-1"), Step("quick-1")], time_limit=20.0)
    assert acting.begun == ["quick-1"]
    assert outcome.left == (Step("slow-1"),)
    assert 20.0 < acting.patience[0] <= 20.0 + GRACE
    acting.ended = lambda patience: None
    outcome, _ = run_with(acting, [Step("quick-2")], time_limit=20.0)
    assert outcome.left == (Step("quick-2"),)


def task(context, cell, until=None):
    return Task(cell, context.store.records, context.store.artefacts, "cpu", until, 1)


def test_a_worker_returns_what_a_cell_raised(context):
    """With its traceback, and as text where it cannot travel."""
    assert work(task(context, C)) is None
    raised = work(task(context, Step("r", does="raise")))
    assert isinstance(raised, RedhandedError)
    assert str(raised) == "images: damaged; fetch them again"
    assert "test_engines.py" in raised.__notes__[0]
    assert "1 and 2" in str(work(task(context, Step("o", does="raise oddly"))))


def test_a_worker_makes_no_need_of_its_cell(context):
    """It would be made twice; that it is not seen means that folders are not shared."""
    raised = work(task(context, B), patience=0.0)
    assert isinstance(raised, RedhandedError)
    assert "step-a" in str(raised)
    assert "share" in str(raised)
    assert not (context.store.records.parent / "ran-a").exists()


def test_a_worker_makes_artefacts_again_and_keeps_the_record(context, tmp_path):
    """A committed record is not measured anew."""
    run_cells([C], context)
    before = context.store.record_path(C).read_bytes()
    elsewhere = Context(Store(context.store.records, tmp_path / "empty"))
    assert work(task(elsewhere, C)) is None
    assert elsewhere.store.artefact(C) is not None
    assert context.store.record_path(C).read_bytes() == before


def test_a_worker_heeds_the_limit(context):
    """It leaves off in the middle of a cell, and begins none when there is no time."""
    cell = Step("long", does="wait")
    assert isinstance(work(task(context, cell, until=time.time() + 2.6)), OutOfTimeError)
    assert (context.store.records.parent / "ran-long").exists()
    assert isinstance(work(task(context, C, until=time.time() - 5.0)), OutOfTimeError)
    assert not (context.store.records.parent / "ran-c").exists()


def test_a_worker_uses_the_threads_it_was_given(context):
    """And the record says how many."""
    before = torch.get_num_threads()
    try:
        assert work(replace(task(context, C), threads=before + 1)) is None
    finally:
        torch.set_num_threads(before)
    assert f"{before + 1} threads" in context.store.record(C)["device"]


def test_one_job_is_this_process():
    """A GPU takes one; a processor a job a core."""
    assert local(1, CPU, lambda cell, how: None) is in_turn
    assert local(None, torch.device("cuda"), lambda cell, how: None) is in_turn
    assert 1 <= jobs_of(CPU) <= MOST


def test_ray_that_is_missing_is_named_with_its_fix(monkeypatch):
    """One line, before anything is measured."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RedhandedError, match=r"pip install 'redhanded\[ray\]'"):
        cluster(2, CPU, lambda cell, how: None)


def test_two_processes_measure_and_one_dies(context, monkeypatch):
    """Real ones: everything once but the cell of the dead worker, an error as it was, no process left."""
    monkeypatch.syspath_prepend(ROOT)  # where workers find this module
    losses = []
    engine = local(2, CPU, lambda cell, how: losses.append((cell.name, how)))
    mortal = Step("mortal", (A,), "die once")
    outcome = run_cells([mortal, D], context, engine=engine)
    assert outcome.left == ()
    assert losses == [("mortal", "signal SIGKILL")]
    runs = {step.name: processes(context, step) for step in (A, B, C, D, mortal)}
    assert {name: len(pids) for name, pids in runs.items()} == {"a": 1, "b": 1, "c": 1, "d": 1, "mortal": 2}
    pids = {pid for each in runs.values() for pid in each}
    assert os.getpid() not in pids
    assert len(pids) >= 2
    assert "1 threads" in context.store.record(D)["device"]
    assert not list(context.store.records.glob("*.partial"))
    assert gone(pids)
    with pytest.raises(RedhandedError) as raised:
        run_cells([Step("bad", does="raise")], context, engine=engine)
    assert str(raised.value) == "images: damaged; fetch them again"


@pytest.mark.skipif(os.name != "posix", reason="pipes are handed on as POSIX does it")
def test_a_worker_whose_tasks_end_before_its_parent_ends_without_a_word():
    """So it is where a run is interrupted while a worker starts: its pipe is closed first."""
    ours, theirs = Pipe()
    with subprocess.Popen(
        [sys.executable, "-c", SERVE.format(theirs.fileno())],
        stdin=subprocess.PIPE,  # open to the end
        stderr=subprocess.PIPE,
        pass_fds=(theirs.fileno(),),
    ) as worker:
        theirs.close()
        ours.close()
        assert worker.wait() == 0
        assert worker.stderr.read() == b""


def processes(context, step):
    return [int(word) for word in (context.store.records.parent / f"ran-{step.name}").read_text().split()]


def gone(pids, patience=20.0):
    """Whether none of the processes is left, after a while."""
    until = time.monotonic() + patience
    while (left := [pid for pid in pids if alive(pid)]) and time.monotonic() < until:
        time.sleep(0.05)
    return not left


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # an orphan's end may wait for init to hear of it


DRIVER = """
import signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
signal.signal(signal.SIGINT, signal.default_int_handler)
import torch
from tests.unit.experiments.runner.test_engines import Context, Step, Store, local, run_cells
root = Path(sys.argv[2])
cells = [Step(name, does="wait") for name in ("one", "two", "three")]
context = Context(Store(root / "records", root / "artefacts"))
engine = local(2, torch.device("cpu"), lambda cell, how: None)
print(len(run_cells(cells, context, engine=engine).left))
"""


def driver(tmp_path):
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(ROOT), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_the_run_and_the_next_run_goes_on(tmp_path, end):
    """Control-C, SIGTERM and even SIGKILL leave no process and no half record."""
    files = [tmp_path / "ran-one", tmp_path / "ran-two"]
    with driver(tmp_path) as running:
        while not all(path.exists() and path.read_text().endswith("\n") for path in files):
            assert running.poll() is None
            time.sleep(0.05)
        running.send_signal(end)
    assert running.returncode == -(signal.SIGKILL if end == signal.SIGKILL else signal.SIGINT)
    # a run that could still do something has waited for them
    assert gone([int(path.read_text()) for path in files], patience=20.0 if end == signal.SIGKILL else 0.0)
    assert not list((tmp_path / "records").glob("*"))
    (tmp_path / "go").touch()
    with driver(tmp_path) as running:
        assert running.communicate()[0] == "0\n"
    assert len(list((tmp_path / "records").glob("*.json"))) == 3
