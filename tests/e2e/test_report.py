"""`redhanded report` as a stranger meets it."""

import os
import subprocess
import sys

import pytest

from redhanded.experiments.runner.store import Store
from redhanded.experiments.tables import TABLES
from redhanded.experiments.worlds.demo import demo


def redhanded(*words, cwd):
    return subprocess.run(
        [sys.executable, "-m", "redhanded.cli", *map(str, words)],
        cwd=cwd,
        env=os.environ | {"COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def record(folder, accuracy):
    """Write one record of Table I, as if it had been measured; Table IV holds it too."""
    cell = TABLES["i"](demo()).find("Baseline", "Ex. Acc.").cells[0]
    found = {"key": cell.key, "accuracy": accuracy, "device": "cpu", "torch": "2.13.0", "seconds": 3}
    Store(folder, folder).save_record(cell, cell.described() | found)


def test_a_missing_folder_is_one_line(tmp_path):
    done = redhanded("report", "--world", "demo", cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("redhanded: records: runs/demo is no folder")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("folder", ["results/demo", "runs/demo"])
def test_records_are_found_where_they_lie(tmp_path, folder):
    record(tmp_path / folder, 0.625)
    if folder.startswith("results"):
        record(tmp_path / "runs/demo", 0.125)  # committed records come first
    done = redhanded("report", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Wrote docs/reproduction.md and 1 of 10 figures" in done.stderr
    assert "Figure 10: not measured" in done.stderr
    assert (tmp_path / "docs/images/reproduction/demo/figure-7.svg").is_file()
    page = (tmp_path / "docs/reproduction.md").read_text()
    assert "| Baseline | 62.5% | 66.0% |" in page
    assert not (tmp_path / "runs/artefacts").exists()


def test_folders_can_be_named(tmp_path):
    record(tmp_path / "elsewhere", 0.25)
    words = ("--records", "elsewhere", "--out", "site", "--artefacts", "none")
    done = redhanded("report", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "| Baseline | 25.0% | 66.0% |" in (tmp_path / "site/reproduction.md").read_text()
    assert not (tmp_path / "none").exists()
