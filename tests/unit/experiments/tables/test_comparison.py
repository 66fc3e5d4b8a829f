"""Every detector in a world of seconds: tuned on one stream, bundled, and put before the same streams."""

import json
from dataclasses import replace

import numpy as np
import pytest

from redhanded.commands.compare import _found, as_markdown
from redhanded.detectors import SimilarityDetector, load_bundle
from redhanded.detectors.accounts import benign_floor
from redhanded.detectors.bundle import bundle_digest
from redhanded.errors import RedhandedError
from redhanded.experiments.cells import Detect, Extract, Honest, Watched
from redhanded.experiments.cells.utility import Utility
from redhanded.experiments.measure.replay import replay
from redhanded.experiments.runner.context import Context
from redhanded.experiments.runner.run import run_cells
from redhanded.experiments.runner.store import Record, Store
from redhanded.experiments.tables import TABLES, output_defences
from redhanded.experiments.tables.bundles import bundles
from redhanded.experiments.tables.comparison import Comparison
from redhanded.experiments.worlds import world as world_module
from redhanded.experiments.worlds.detectors import DETECTORS
from redhanded.lab.attacks import Dfme
from redhanded.types import FeatureArray, ImageArray
from tiny import tiny

FPR = 0.01


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> tuple[Comparison, Context]:
    folder = tmp_path_factory.mktemp("tiny")
    comparison = Comparison(tiny(), streams=("honest", "photos", "jb-top3"), fpr=FPR)
    context = Context(Store(folder / "records", folder / "artefacts"))
    outcome = run_cells([place.cell for place in comparison.places], context)
    assert not outcome.left
    return comparison, context


def test_every_detector_meets_every_stream(measured) -> None:
    comparison, context = measured
    assert len(comparison.places) == 3 * len(DETECTORS)
    streams = set()
    for place in comparison.places:
        record = context.record(place.cell)
        tuning = context.record(place.cell.calibration)
        assert record["detector"] == tuning["detector"]
        assert tuning["flags"] <= FPR * tuning["length"] * tuning["flags_to_ban"]
        assert tuning["length"] <= 400
        streams.add(tuning["stream"])
        assert record["queries"] == {"honest": 120, "photos": 120, "jb-top3": 90}[place.stream]
        assert record["bans"] * tuning["flags_to_ban"] <= record["flags"]
        assert ("benign_floor" in record) == (place.stream != "honest")
        assert ("auroc" in record) == (
            place.stream != "honest" and place.detector.startswith(("vae", "outliers"))
        )
        near = place.detector.startswith(("similarity", "seat"))
        assert ("ceiling_bans" in record) == (isinstance(place.cell, Detect) and near)
        json.dumps(record, allow_nan=False)
    assert len(streams) == 1


@pytest.mark.parametrize("name", DETECTORS)
def test_the_bundle_judges_as_was_measured(measured, name: str) -> None:
    comparison, context = measured
    place = next(p for p in comparison.places if (p.detector, p.stream) == (name, "jb-top3"))
    assert isinstance(place.cell, Detect)
    deployed = load_bundle(context.artefact(place.cell.calibration) / "bundle")
    log = place.cell.extraction.log(context)
    found, record = replay(deployed, log.images, log.outputs), context.record(place.cell)
    assert (found.flags, len(found.bans)) == (record["flags"], record["bans"])


def test_every_row_names_the_bundle_that_judged(measured) -> None:
    comparison, context = measured
    behind = bundles(context.store)
    for place in comparison.places:
        found = _found(place, context, behind)
        assert found is not None
        assert found["bundle_digest"] == bundle_digest(context.artefact(place.tuned) / "bundle")


def test_the_tables_are_written_for_a_page(measured) -> None:
    comparison, context = measured
    found = [(place, context.store.record(place.cell)) for place in comparison.places]
    text = as_markdown(found)
    assert text.count("| similarity |") == 2  # bans and flags; it has no AUROC
    assert text.count("| vae |") == 2  # bans and AUROC; it judges a statistic, and flags nothing
    assert "not measured" not in text
    missing = as_markdown([(place, None) for place, _ in found])
    assert "| similarity | not measured | not measured | not measured |" in missing


class Unused:
    """An encoder that is never asked."""

    digest = "unused"

    def __call__(self, images: ImageArray) -> FeatureArray:
        raise AssertionError


def test_the_floor_is_of_fresh_accounts_as_long_as_the_attack() -> None:
    """Each row returns after three others, so nothing is near within a stream of three."""
    features = np.tile(np.eye(4, dtype=np.float32), (6, 1))[:23]
    detector = SimilarityDetector(Unused(), 0.5, flags_to_ban=2)
    assert benign_floor(detector, features, None, 3)["benign_floor"] == 0
    # of a stream of eight: four flags, then a ban at every second of the others; two such streams fit
    eight = benign_floor(detector, features, None, 8)
    flags = [2, 2]  # each stream of eight: two flags, a ban, and two fresh rows
    assert eight == {"benign_floor": sum(flags) / 16 * 8 / 2, "benign_floor_extrapolated": False}
    whole, long = (benign_floor(detector, features, None, length) for length in (23, 46))
    assert long["benign_floor_extrapolated"]
    assert long["benign_floor"] == pytest.approx(2 * whole["benign_floor"])


def test_streams_that_there_are_not_are_named() -> None:
    with pytest.raises(
        RedhandedError, match=r"^streams: the demo world has no 'nowhere'; choose from honest"
    ):
        Comparison(tiny(), streams=("honest", "nowhere"))


def test_detectors_share_stream_and_networks() -> None:
    places = Comparison(tiny(), streams=("jb-top3",)).places
    assert len({place.cell.extraction for place in places if isinstance(place.cell, Detect)}) == 1
    assert len({place.cell.calibration.distinct for place in places}) == 1
    assert len({place.cell.key for place in places}) == len(DETECTORS)
    assert len({place.cell.label for place in places}) == len(DETECTORS)
    honest = Comparison(tiny(), streams=("honest",)).places
    assert all(isinstance(place.cell, Honest) for place in honest)


def test_a_theft_too_long_to_log_shows_the_same_row_a_detector(tmp_path, monkeypatch) -> None:
    """Watched once by all detectors, or logged and replayed before each: the figures are the same."""
    world, names = tiny(), ("blacklight", "prada", "outliers")
    brief = Dfme(130, batch=6, n_student=3, generator_width=4, latent=5, student_lr=0.05)
    world = replace(world, scale=replace(world.scale, data_free=brief))
    context = Context(Store(tmp_path / "records", tmp_path / "artefacts"))

    def compared() -> dict[str, Record]:
        comparison = Comparison(world, names, ("dfme",), FPR)
        run_cells([place.cell for place in comparison.places], context)
        return {place.detector: place.record(context.record(place.cell)) or {} for place in comparison.places}

    replayed = compared()
    monkeypatch.setattr(world_module, "LOGGED", 129)
    cells = {place.cell for place in Comparison(world, names, ("dfme",), FPR).places}
    assert [type(cell) for cell in cells] == [Watched]
    watched = compared()
    shown = ("detector", "flags_to_ban", "queries", "flags", "flag_rate", "bans", "accounts_used", "fpr")
    for name in names:
        for field in (*shown, "benign_floor", "accuracy", "attack", "calibration_key"):
            assert watched[name][field] == replayed[name][field], (name, field)
        assert not any(f"{other}_flags" in watched[name] for other in names)
    assert len({record["calibration_key"] for record in watched.values()}) == len(names)


def test_output_defences_are_priced_and_robbed(tmp_path) -> None:
    """Answers are what the defence makes of them: labels are, probabilities are not, one-hot."""
    world = tiny()
    context = Context(Store(tmp_path / "records", tmp_path / "artefacts"))
    cells = [cell for cell in TABLES["defences"](world).cells if cell.described()["seed"] == 0]
    assert not run_cells(cells, context).left
    titles = [defence.title for defence in output_defences(world)]
    assert len(set(titles)) == 9
    for cell in cells:
        record = context.record(cell)
        if isinstance(cell, Utility):
            assert 0 <= record["accuracy"] <= 1
            assert (record["l1_mean"] == 0) == (record["defence"] == "none")
            continue
        assert isinstance(cell, Extract)
        assert record["queries"] == 90
        outputs = cell.log(context).outputs
        np.testing.assert_allclose(outputs.sum(1), 1, atol=1e-5)
        hard = (outputs.max(1) == 1).all()
        assert hard == (record["answers"] == "hard" or record["defence"] == "label only")
