"""Engines with real cells: a worker is killed midway, and the records are those of a serial run."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

HELPERS = Path(__file__).parents[1] / "unit/experiments"
CELLS = 7
"""A victim, and two attacks with three seeds each."""
ELSE = ("seconds", "revision")
"""What may differ: other people work while tests run."""

RUN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
import torch
from tiny import tiny
from redhanded.experiments.runner.context import Context
from redhanded.experiments.runner.cluster import cluster
from redhanded.experiments.runner.local import local
from redhanded.experiments.runner.run import run_cells
from redhanded.experiments.runner.store import Store

kind, root, world = sys.argv[1], Path(sys.argv[2]), tiny()
make, jobs = {"serial": (local, 1), "local": (local, 2), "ray": (cluster, 2)}[kind]
stolen = [(name, seed) for name in ("jb-top3", "jba-pgd") for seed in (0, 1, 2)]
cells = [world.extract(name, world.n_seed_large, seed) for name, seed in stolen]
outcome = run_cells(
    cells,
    Context(Store(root / "records", root / "artefacts")),
    started=lambda cell, place, of: print("started", cell.label, flush=True),
    engine=make(jobs, torch.device("cpu"), lambda cell, how: print("lost", cell.label, flush=True)),
)
print("measured", *sorted(cell.label for cell in outcome.measured), flush=True)
assert not outcome.left
"""


def run(kind, root):
    """Start a run in its own process; unset, so that a cluster is started here and not joined."""
    env = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    return subprocess.Popen(
        [sys.executable, "-c", RUN, kind, str(root), str(HELPERS)],
        env=env | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )


def records(root):
    return {path.name: json.loads(path.read_text()) for path in (root / "records").glob("*")}


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    root = tmp_path_factory.mktemp("serial")
    with run("serial", root) as running:
        running.communicate()
    assert running.returncode == 0
    return records(root)


def descendants(pid):
    """Process ids below a process, with their command lines."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            parents[int(folder.name)] = (
                parent,
                (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(),
            )
        except (FileNotFoundError, ProcessLookupError):
            continue
    found, below = {}, {pid}
    while below := {child for child, (parent, _) in parents.items() if parent in below} - found.keys():
        found |= {child: parents[child][1] for child in below}
    return found


def alike(ours, theirs):
    """Equal up to float noise."""
    if isinstance(theirs, float):
        return ours == pytest.approx(theirs, rel=1e-4, abs=1e-5)
    if isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(alike, ours, theirs))
    return ours == theirs


def kill_a_worker(running, mark):
    """Kill one worker that measures; wait for it to be there."""
    until = time.monotonic() + 60.0
    while time.monotonic() < until:
        for pid, command in descendants(running.pid).items():
            if mark in command:
                os.kill(pid, signal.SIGKILL)
                return
    raise AssertionError("no worker to kill")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
@pytest.mark.parametrize(("kind", "mark"), [("local", "engines.worker"), ("ray", "ray::extraction")])
def test_a_killed_worker_loses_and_doubles_nothing(tmp_path, serial, kind, mark):
    """Every record once, whole, and equal to the serial run's."""
    lines = []
    with run(kind, tmp_path) as running:
        for line in running.stdout:
            lines.append(line.split())
            if len(lines) == 3:  # the victim, and two attacks at once
                kill_a_worker(running, mark)
    assert running.returncode == 0, lines
    assert [word for word, *_ in lines].count("lost") == 1
    assert len(lines[-1][1:]) == len(set(lines[-1][1:])) == CELLS
    started = [label for word, label, *_ in lines if word == "started"]
    lost = next(label for word, label, *_ in lines if word == "lost")
    assert sorted(started) == sorted([*lines[-1][1:], lost])
    found = records(tmp_path)  # of every file: one left half-written would have another name
    assert len(found) == CELLS
    assert found.keys() == serial.keys()
    for name, record in found.items():
        assert record.keys() == serial[name].keys()
        for field, value in record.items():
            assert field in ELSE or alike(value, serial[name][field]), (name, field)
    assert not list((tmp_path / "artefacts").glob("*.unfinished"))


def one_line(folder, *words, **env):
    """Check that the command failed with one line; return it."""
    done = subprocess.run(
        [sys.executable, "-m", "redhanded.cli", "run", "i", *words],
        cwd=folder,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("redhanded: "))
    return line


@pytest.mark.parametrize(
    ("words", "named"), [(("--engine", "mars"), "local, ray"), (("--jobs", "0"), "--jobs")]
)
def test_bad_words_are_named(tmp_path, words, named):
    """An unknown engine, and no jobs."""
    assert named in one_line(tmp_path, *words)


def test_a_cluster_that_is_not_there_is_named(tmp_path):
    """At once, where Ray itself tries for minutes."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        said = one_line(tmp_path, "--engine", "ray", RAY_ADDRESS=address)
    assert address in said
    assert "RAY_ADDRESS" in said
