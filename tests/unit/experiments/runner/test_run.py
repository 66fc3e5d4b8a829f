"""Cells, records and the runner: resumable at any moment, never past the limit, nothing finished lost."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest

from redhanded.errors import OutOfTimeError, RedhandedError
from redhanded.experiments.runner.context import Context
from redhanded.experiments.runner.keys import canonical, key_of
from redhanded.experiments.runner.run import RESERVE, plan, run_cells
from redhanded.experiments.runner.store import Store
from redhanded.experiments.tables import TABLES
from redhanded.experiments.worlds import WORLDS
from redhanded.types import ADDED


@dataclass(frozen=True)
class Step:
    """A cell that takes a while and leaves an artefact; it appends its name to a file each time it runs."""

    name: str
    after: tuple["Step", ...] = ()
    seconds: float = 0.0
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
        with (context.store.records.parent / "runs").open("a") as log:
            log.write(f"{self.name}\n")
        until = time.monotonic() + self.seconds
        while time.monotonic() < until:
            time.sleep(0.005)
        (context.store.scratch(self) / "made").write_text(self.name)
        return {"made": self.name}


FIRST = Step("first")
SECOND = Step("second", (FIRST,))
THIRD = Step("third", (FIRST, SECOND))


@pytest.fixture
def context(tmp_path):
    return Context(Store(tmp_path / "records", tmp_path / "artefacts"))


def ran(context):
    path = context.store.records.parent / "runs"
    return path.read_text().split() if path.exists() else []


def test_needs_run_first_and_only_once(context):
    """A finished cell is found again by its key."""
    assert [cell.name for cell in plan([THIRD, SECOND], context)] == ["first", "second", "third"]
    assert run_cells([THIRD, SECOND], context).measured == (FIRST, SECOND, THIRD)
    again = run_cells([THIRD, SECOND], context)
    assert again.finished == (THIRD, SECOND)
    assert again.measured == again.left == ()
    assert ran(context) == ["first", "second", "third"]
    record = context.store.record(THIRD)
    assert record["key"] == THIRD.key
    assert record["seconds"] >= 0
    assert {"device", "revision", "torch"} <= record.keys()


def test_a_record_without_artefacts_is_enough_until_they_are_needed(context, tmp_path):
    """Committed records are not measured again; what needs their artefacts makes those alone."""
    run_cells([SECOND], context)
    elsewhere = Context(Store(context.store.records, tmp_path / "empty"))
    before = context.store.record_path(FIRST).read_bytes()
    assert run_cells([SECOND], elsewhere).measured == ()
    assert run_cells([THIRD], elsewhere).measured == (FIRST, SECOND, THIRD)
    assert context.store.record_path(FIRST).read_bytes() == before


def test_the_limit_stops_a_cell_that_would_pass_it(context):
    """What was finished stays; the next run does the rest."""

    @dataclass(frozen=True)
    class Slow(Step):
        def run(self, context):
            signal.setitimer(signal.ITIMER_REAL, 0.01)  # the limit comes now, however long the others took
            return super().run(context)

    slow = Slow("slow", (FIRST,), seconds=60.0)
    outcome = run_cells([SECOND, slow], context, time_limit=60.0)
    assert outcome.measured == (FIRST, SECOND)
    assert outcome.left == (slow,)
    assert context.store.record(SECOND) is not None
    assert not list(context.store.records.glob("*.partial"))


@pytest.mark.parametrize("how", ["wrapped", "swallowed"])
def test_the_limit_holds_inside_a_library(context, how, monkeypatch):
    """One raises an error of its own over the alarm; in another's callback it is lost, and rings again."""
    monkeypatch.setattr("redhanded.experiments.runner.run.AGAIN", 0.1)

    @dataclass(frozen=True)
    class Library(Step):
        def run(self, context):
            try:
                time.sleep(60)
            except OutOfTimeError as error:
                if how == "wrapped":
                    raise RuntimeError("could not convert the graph") from error
            time.sleep(60)
            return {}

    cell = Library("library")
    assert run_cells([cell], context, time_limit=RESERVE + 0.3).left == (cell,)


def test_an_error_is_not_taken_for_the_limit(context):
    """What has nothing to do with it is raised."""

    @dataclass(frozen=True)
    class Broken(Step):
        def run(self, context):
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        run_cells([Broken("broken")], context, time_limit=60.0)


def test_a_cell_whose_like_took_longer_is_not_started(context):
    """An estimate from an equal cell's record saves the work of being cut off."""
    context.store.save_record(Step("slow-0"), {"seconds": 1000.0})
    outcome = run_cells([Step("slow-1")], context, time_limit=20.0)
    assert outcome.measured == ()
    assert ran(context) == []


def test_out_of_time_inside_a_cell_keeps_its_scratch(context):
    """A checkpointed cell raises, and finds its scratch folder again."""

    @dataclass(frozen=True)
    class Halting(Step):
        def run(self, context):
            folder = context.store.scratch(self)
            if not (folder / "half.checkpoint.txt").exists():
                (folder / "half.checkpoint.txt").write_text("half")
                raise OutOfTimeError("time limit")
            return {}

    cell = Halting("halting")
    assert run_cells([cell], context).left == (cell,)
    assert run_cells([cell], context).measured == (cell,)
    assert not list(context.store.artefact(cell).iterdir())


@pytest.mark.parametrize("resumes", [True, False])
def test_seconds_are_those_of_all_runs_that_made_the_result(context, resumes, monkeypatch):
    """A cell that goes on where it stopped cost what it did before, too; one that starts again did not."""
    now = [100.0]
    monkeypatch.setattr("redhanded.experiments.runner.run.time.perf_counter", lambda: now[0])

    @dataclass(frozen=True)
    class Sliced(Step):
        resumes: ClassVar[bool] = False

        def run(self, context):
            half = context.store.scratch(self) / "half.checkpoint.txt"
            if half.exists() and half.read_text() == "twice":
                now[0] += 5
                return {}
            half.write_text("twice" if half.exists() else "once")
            now[0] += 20
            raise OutOfTimeError("time limit")

    monkeypatch.setattr(Sliced, "resumes", resumes)
    cell = Sliced("sliced")
    for _ in range(3):
        run_cells([cell], context)
    assert context.store.record(cell)["seconds"] == (45 if resumes else 5)
    assert not list(context.store.artefact(cell).iterdir())


def test_a_damaged_record_is_named(context):
    """The fix is in the line."""
    run_cells([FIRST], context)
    context.store.record_path(FIRST).write_text("{")
    with pytest.raises(RedhandedError, match="delete it"):
        run_cells([FIRST], context)


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_run import Context, Step, Store, run_cells
root = Path(sys.argv[2])
print("ready", flush=True)
run_cells([Step(f"n{k}", seconds=0.05) for k in range(12)], Context(Store(root / "records", root / "art")))
"""


@pytest.mark.slow
def test_random_kills_leave_whole_records_and_lose_none(tmp_path):
    """SIGKILL at random moments; every record stays readable, finished cells are not run again."""
    draw, seen = random.Random(0), set()
    for _ in range(30):
        words = [sys.executable, "-c", CHILD, str(Path(__file__).parent), str(tmp_path)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"  # however long a busy machine takes to import
            try:
                child.wait(timeout=draw.random() * 1.2)
            except subprocess.TimeoutExpired:
                os.kill(child.pid, signal.SIGKILL)
        found = {path.name for path in (tmp_path / "records").glob("*.json")}
        for path in (tmp_path / "records").glob("*.json"):
            assert json.loads(path.read_text())["kind"] == "step"
        assert seen <= found
        seen = found
        if len(seen) == 12:
            break
    assert len(seen) == 12
    names = (tmp_path / "runs").read_text().split()
    killed = len(names) - len(set(names))
    assert killed <= 30  # at most one cell, the one under way, is run again after each kill


def test_keys_hold_every_field_and_survive_a_process():
    """The key of a cell is the hash of everything it depends on."""
    assert key_of(FIRST) == key_of(Step("first"))
    assert len({key_of(cell) for cell in (FIRST, SECOND, THIRD, Step("first", seconds=1.0))}) == 4
    assert canonical(FIRST) == {"type": "Step", "version": 1, "name": "first", "after": [], "seconds": 0.0}
    with pytest.raises(TypeError):
        canonical({1: 2})


def test_a_field_added_later_changes_no_key_at_its_default():
    """Records outlive the addition of a field, and a new value of it is another cell."""

    @dataclass(frozen=True)
    class Grown:
        name: str
        extra: int = field(default=3, metadata=ADDED)

    assert canonical(Grown("a")) == {"type": "Grown", "version": 1, "name": "a"}
    assert canonical(Grown("a", 4))["extra"] == 4


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", TABLES)
def test_tables_are_declared_in_every_world(world, name):
    """Every place has a cell a seed, or the first seed alone, or says why it has none."""
    made = WORLDS[world]()
    table = TABLES[name](made)
    assert all(len(entry.cells) in (1, len(made.seeds)) or entry.note for entry in table.entries)
    assert all(entry.available == bool(entry.cells) for entry in table.entries)
    assert len({cell.key for cell in table.cells}) == len(table.cells)
    assert len({cell.label + cell.key[:16] for cell in table.cells}) == len(table.cells)
