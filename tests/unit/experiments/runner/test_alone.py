"""Several processes on one folder of artefacts: each cell is worked on by one of them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from redhanded.experiments.cells.networks import TrainHardness
from redhanded.experiments.runner.context import Context
from redhanded.experiments.runner.run import fits, run_cells
from redhanded.experiments.runner.store import Store
from test_run import Step
from tiny import tiny

CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_run import Context, Step, Store, run_cells
root = Path(sys.argv[2])
context = Context(Store(root / "records", root / "artefacts"))
print("ready", flush=True)
outcome = run_cells([Step("slow", seconds=float(sys.argv[3]))], context)
print(len(outcome.measured), len(outcome.left), flush=True)
"""


def child(root: Path, seconds: float) -> "subprocess.Popen[str]":
    words = [sys.executable, "-c", CHILD, str(Path(__file__).parent), str(root), str(seconds)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def begun(root: Path) -> None:
    while not (root / "runs").is_file():
        time.sleep(0.01)


def test_two_processes_measure_a_cell_once(tmp_path: Path) -> None:
    with child(tmp_path, 2.0) as one, child(tmp_path, 2.0) as other:
        said = [process.communicate()[0].split() for process in (one, other)]
    assert sorted(said) == [["ready", "0", "0"], ["ready", "1", "0"]]
    assert (tmp_path / "runs").read_text() == "slow\n"
    (record,) = (tmp_path / "records").glob("*.json")
    assert json.loads(record.read_text())["made"] == "slow"


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    with child(tmp_path, 60.0) as one:
        begun(tmp_path)
        os.kill(one.pid, signal.SIGKILL)
    (scratch,) = (tmp_path / "artefacts").glob("*.unfinished")
    assert scratch.is_dir()
    with child(tmp_path, 60.0) as one, child(tmp_path, 60.0) as waiting:
        while len((tmp_path / "runs").read_text().split()) < 2:
            time.sleep(0.01)
        for process in (one, waiting):
            os.kill(process.pid, signal.SIGKILL)


def test_who_waits_is_told_for_whom_and_stops_at_the_limit(tmp_path: Path) -> None:
    told: list[str] = []

    def reporter(title: str):
        from redhanded.experiments.runner.context import silent

        told.append(title)
        return silent(title)

    with child(tmp_path, 60.0) as one:
        begun(tmp_path)
        context = Context(Store(tmp_path / "records", tmp_path / "artefacts"), reporter=reporter)
        outcome = run_cells([Step("slow", seconds=60.0)], context, time_limit=3.0)
        os.kill(one.pid, signal.SIGKILL)
    assert len(outcome.left) == 1
    assert any(f"process {one.pid} on" in title for title in told)


def test_likes_differ_in_the_seed_alone(tmp_path: Path) -> None:
    context, stop = Context(Store(tmp_path, tmp_path)), time.monotonic() + 100
    context.store.save_record(Step("theft-250-0"), {"seconds": 1e6})
    assert fits(Step("theft-25-0"), context, stop)
    assert fits(Step("theft-2-0"), context, stop)
    assert fits(Step("theft-250-filtering-0"), context, stop)
    assert not fits(Step("theft-250-1"), context, stop)


def test_a_snapshot_that_a_kill_cut_short_is_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = tiny()
    cell = TrainHardness(
        world.name, world.judging.inside, world.test, world.surrogate, world.judging.classifier_training, 2
    )
    context = Context(Store(tmp_path / "records", tmp_path / "artefacts"), torch.device("cpu"))

    def torn(tensors: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("redhanded.experiments.cells.base.save_file", torn)
        with pytest.raises(KeyboardInterrupt):
            run_cells([cell], context)
    assert run_cells([cell], context).measured == (cell,)
