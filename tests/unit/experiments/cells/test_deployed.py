"""The bundle that was measured is taken out, deployed in the guard, and gives the record's verdicts."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from redhanded.commands.calibrate import calibrate
from redhanded.detectors import load_bundle
from redhanded.detectors.bundle import bundle_digest, short
from redhanded.experiments.cells import Detect, Honest
from redhanded.experiments.cells.datasets import Composed
from redhanded.experiments.runner.context import Context
from redhanded.experiments.runner.run import run_cells
from redhanded.experiments.runner.store import Store
from redhanded.experiments.tables.base import Entry, Table
from redhanded.experiments.tables.bundles import NOT_RECORDED, bundles, named
from redhanded.experiments.tables.comparison import Comparison
from redhanded.experiments.tables.printing import as_data, as_markdown
from redhanded.experiments.worlds import WORLDS
from redhanded.guard import Guard
from tiny import tiny

FPR = 0.01
COMPARED = ("similarity", "vae", "prada", "blacklight")


def world():
    return replace(tiny(), tuning=(Composed("digits", "honest", 300),))


def detections() -> dict[str, Detect]:
    """One theft before the tables' similarity detector and before those of the comparison."""
    found = {
        place.detector: place.cell
        for place in Comparison(world(), COMPARED, ("jb-top3",), fpr=FPR).places
        if isinstance(place.cell, Detect)
    }
    tables = replace(world().calibrate(), fpr=FPR)
    honest = Honest(tables, world().judging.heldout)
    return found | {"tables": Detect(tables, found["similarity"].extraction, honest)}


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> tuple[Path, Context]:
    folder = tmp_path_factory.mktemp("deployed")
    context = Context(Store(folder / "runs/demo", folder / "runs/artefacts"))
    run_cells(list(detections().values()), context)
    return folder, context


@pytest.fixture
def redhanded(measured, monkeypatch):
    app = typer.Typer()
    app.command()(calibrate)
    monkeypatch.chdir(measured[0])
    monkeypatch.setitem(WORLDS, "demo", world)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


def hopped(guard: Guard, images: np.ndarray) -> tuple[int, int]:
    """Send images one by one, from a new account after each ban; return flags and bans."""
    flags, bans = 0, 0
    for image in images:
        reply = guard.query(f"account-{bans}", image[None])
        flags += reply.verdict.flags
        bans += reply.banned
    return flags, bans


@pytest.mark.parametrize("name", [*COMPARED, "tables"])
def test_the_guard_judges_as_the_record_says(measured, redhanded, name) -> None:
    folder, context = measured
    cell = detections()[name]
    which = ("similarity",) if name == "tables" else (name, "--compared")
    done = redhanded("--out", name, "--fpr", FPR, "--json", "--detector", *which)
    assert done.exit_code == 0, done.output
    measured_here = context.artefact(cell.calibration) / "bundle"
    copied = {path.name: path.read_bytes() for path in (folder / name).iterdir()}
    assert copied == {path.name: path.read_bytes() for path in measured_here.iterdir()}
    record, log = context.record(cell), cell.extraction.log(context)
    assert record["bundle_digest"] == bundle_digest(folder / name)
    assert json.loads(done.stdout)["bundle_digest"] == record["bundle_digest"]
    asked = iter(log.outputs)
    detector = load_bundle(folder / name)
    guard = Guard(lambda images: np.stack([next(asked) for _ in images]), detector, mode="paper")
    assert hopped(guard, log.images) == (record["flags"], record["bans"])


def test_one_theft_at_least_is_caught(measured) -> None:
    """Otherwise equal verdicts would say little."""
    assert any(measured[1].record(cell)["bans"] for cell in detections().values())
    assert sum(measured[1].record(cell)["flags"] > 0 for cell in detections().values()) > 1


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (("--detector", "blacklight", "--flags-to-ban", 2), "flags-to-ban: "),
        (("--detector", "vae", "--count", "pairs"), "count: "),
        (("--fpr", 1e-6), "fpr: "),
    ],
)
def test_what_is_not_the_worlds_own_is_refused(redhanded, words, field) -> None:
    done = redhanded("--out", "b", "--fpr", FPR, *words)
    assert str(done.exception).startswith(field)
    assert "\n" not in str(done.exception)


def without_digests(context: Context, folder: Path, *, artefacts: bool) -> Context:
    """Return records as an earlier version wrote them."""
    store = Store(folder, context.store.artefacts if artefacts else folder / "none")
    for cell in detections().values():
        for one in (cell, cell.calibration):
            record = context.record(one)
            store.save_record(one, {k: v for k, v in record.items() if k != "bundle_digest"})
    return Context(store)


def test_the_bundle_is_of_the_record_or_of_what_is_here_or_not_told(measured, tmp_path) -> None:
    context, cell = measured[1], detections()["tables"]
    digest = context.record(cell)["bundle_digest"]
    assert bundles(context.store)(cell) == digest
    assert bundles(without_digests(context, tmp_path / "a", artefacts=True).store)(cell) == digest
    old = without_digests(context, tmp_path / "b", artefacts=False)
    assert bundles(old.store)(cell) == NOT_RECORDED
    of_calibration = old.record(cell.calibration) | {"bundle_digest": "0" * 64}
    old.store.save_record(cell.calibration, of_calibration)
    assert bundles(old.store)(cell) == "0" * 64
    assert bundles(old.store)(cell.extraction) is None
    assert bundles(Store(tmp_path / "empty", tmp_path / "empty"))(cell) is None
    assert named([cell, cell, detections()["blacklight"]], bundles(context.store)).startswith(
        f"{short(digest)}, "
    )


def test_a_tables_row_names_its_bundle(measured) -> None:
    context, cell = measured[1], detections()["tables"]
    behind, look = bundles(context.store), context.store.record
    table = Table("vii", "Detector", (Entry("JB-top3", "# Accounts", (cell,), "bans", 3.0),))
    assert f"| {short(behind(cell))} |" in as_markdown(table, look, behind)
    assert as_data(table, look, behind)["entries"][0]["bundles"] == [behind(cell)]
