"""Thieves who know the detector, in a world of seconds."""

import json
from dataclasses import replace

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from redhanded import commands
from redhanded.detectors import load_bundle
from redhanded.experiments.cells import Tune
from redhanded.experiments.cells.adapt import AutoEncoded, Blinded, Chained
from redhanded.experiments.cells.judges import Similarity
from redhanded.experiments.measure.replay import replay
from redhanded.experiments.runner.context import Context
from redhanded.experiments.runner.run import run_cells
from redhanded.experiments.runner.store import Store
from redhanded.experiments.tables import TABLES
from redhanded.experiments.tables.evasion import (
    ORDERS,
    POLICIES,
    Attempt,
    attempts,
    cheapest,
    honest_floor,
    thefts,
)
from redhanded.experiments.worlds import WORLDS
from redhanded.experiments.worlds.adaptations import ADAPTATIONS, adapted
from redhanded.lab.adaptive.blinding import TRANSFORMS, transform
from tiny import tiny


def tuning() -> Tune:
    world = tiny()
    return Tune(world.name, Similarity(world.train_encoder(), flags_to_ban=5), world.judging.common, 0.01)


@pytest.fixture(scope="module")
def tried(tmp_path_factory) -> tuple[list[Attempt], Context]:
    """Four thefts of JB-top3, replayed in every order under every policy."""
    folder = tmp_path_factory.mktemp("evasion")
    context = Context(Store(folder / "records", folder / "artefacts"))
    world = tiny()
    stolen = thefts(world, "jb-top3", ("none", "contrast", "filtering", "auto-encoder"), 90)
    tuned = tuning()
    assert not run_cells([*stolen.values(), tuned], context).left
    for name, cell in stolen.items():
        record = context.record(cell)
        assert record["adaptation"].startswith("none" if name == "none" else name)
        assert record["queries"] <= 90
    detector = tuned.load(context)
    floor = honest_floor(world, detector, stolen["none"], context, lambda *_: None)
    return list(attempts(stolen, detector, ORDERS, tuple(POLICIES), floor, context)), context


def test_every_order_and_policy_is_tried(tried) -> None:
    found, _ = tried
    assert len(found) == 4 * len(ORDERS) * len(POLICIES)
    assert len({(a.adaptation, a.order, a.policy) for a in found}) == len(found)
    for adaptation in ("none", "contrast", "filtering", "auto-encoder"):
        # orders and policies change neither queries nor what is learnt
        assert len({(a.accuracy, a.queries) for a in found if a.adaptation == adaptation}) == 1
    for attempt in found:
        assert attempt.bans * 5 <= attempt.flags
        if attempt.policy == "one until banned":
            assert attempt.accounts_used in {attempt.bans, attempt.bans + 1}
        if attempt.policy == "4 in rotation":
            assert attempt.accounts_used >= 4


def test_the_floor_is_what_the_held_out_honest_stream_costs(tried, monkeypatch) -> None:
    """JSON and table say what a guard makes of honest streams as long as the theft, each a new user's."""
    _, context = tried
    bundle = context.artefact(tuning()) / "bundle"
    monkeypatch.setitem(WORLDS, "tiny", tiny)

    app = typer.Typer()
    commands.register(app)

    def evade(*options: str) -> str:
        words = ["evade", "jb-top3", "--world", "tiny", "--budget", "90", "--adaptations", "none"]
        folders = ["--out", str(context.store.records), "--artefacts", str(context.store.artefacts)]
        done = CliRunner().invoke(app, [*words, "--detector", str(bundle), *folders, *options])
        assert done.exit_code == 0, done.output
        return done.stdout

    printed, data = evade(), json.loads(evade("--json"))
    detector, (honest,) = load_bundle(bundle), tiny().honest
    images = honest.load().images
    images = images[np.random.default_rng([0, len(images)]).permutation(len(images))]
    images = images.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    streams = len(images) // 90
    flags = sum(replay(detector, images[90 * one : 90 * one + 90]).flags for one in range(streams))
    floor = flags / streams / 5
    assert floor > 0.01
    assert data["benign_floor"] == pytest.approx(floor)
    for attempt in data["attempts"]:
        assert attempt["benign_floor"] == pytest.approx(floor)
        assert not attempt["benign_floor_extrapolated"]
    assert f" {floor:.2f} " in printed.split("none", 1)[1].splitlines()[0]
    assert f"Honest users lose {floor:.2f} accounts" in " ".join(printed.split())


def test_a_blinder_says_what_its_training_asked_of_it(tried) -> None:
    _, context = tried
    blinder = adapted(tiny(), "auto-encoder", "corrected")
    assert isinstance(blinder, AutoEncoded)
    record = context.record(blinder.blinder)
    assert record["l2_mean"] > 0
    assert record["l2_apart"] > 0
    assert 0 <= record["answers_kept"] <= 1


def test_the_cheapest_is_the_one_with_the_fewest_accounts_that_is_good_enough() -> None:
    def one(accuracy: float, accounts: int, flags: int = 0) -> Attempt:
        return Attempt(
            "none", "source", "one until banned", accuracy, 10, flags, accounts - 1, accounts, 0.1, False
        )

    given = [one(0.5, 4), one(0.4, 2, 9), one(0.4, 2, 3), one(0.3, 1)]
    assert cheapest(given, 0.4) == one(0.4, 2, 3)
    assert cheapest(given, 0.5) == one(0.5, 4)
    assert cheapest(given, 0.0) == one(0.3, 1)
    assert cheapest(given, 0.6) is None


def test_a_filter_and_a_blinder_follow_each_other(tmp_path) -> None:
    world = tiny()
    context = Context(Store(tmp_path / "records", tmp_path / "artefacts"))
    both = Chained(ADAPTATIONS["filtering"](world), Blinded(transform("rotate")))
    cell = replace(world.extract("jb-top3", 30), adaptation=both)
    assert not run_cells([cell], context).left
    record = context.record(cell)
    assert record["adaptation"] == "filtering then rotate corrected"
    assert record["queries"] <= 90
    assert both.title.replace(" ", "-") in cell.label


def test_every_reading_is_a_cell_of_its_own() -> None:
    world = tiny()
    for name in ("x", "xi"):
        cells = TABLES[name](world).cells
        assert len({cell.key for cell in cells}) == len({cell.label for cell in cells}) == len(cells)
    for name in (*TRANSFORMS, "auto-encoder"):
        assert adapted(world, name, "corrected") != adapted(world, name, "released")
    assert adapted(world, "none", "released") is None
    plain = TABLES["x"](world).cells[0].extraction
    assert plain.key == world.extract("jb-top3", world.n_seed_large).key  # nothing adapted, nothing new
