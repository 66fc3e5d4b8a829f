"""Both cells that tune a detector: what they close at, what they fit to, and what comes back from disk."""

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from redhanded.detectors import SimilarityDetector
from redhanded.detectors.bundle import bundle_digest
from redhanded.detectors.likelihood import mean_likelihood
from redhanded.experiments.cells import Calibrate, Tune, base, tuned
from redhanded.experiments.cells.calibrate import benign_stream
from redhanded.experiments.cells.datasets import Composed, as_floats
from redhanded.experiments.cells.judges import Similarity
from redhanded.experiments.measure.replay import replay
from redhanded.experiments.runner.context import Context
from redhanded.experiments.runner.run import run_cells
from redhanded.experiments.runner.store import Store
from redhanded.experiments.worlds.detectors import DETECTORS
from redhanded.lab.encoders.embed import TorchEncoder
from tiny import tiny

WORLD = tiny()
BENIGN = (Composed("digits", "honest", 120), Composed("photos", "test", 80))


def calibration(**changed) -> Calibrate:
    cell = Calibrate("tiny", WORLD.train_encoder(), BENIGN, fpr=0.02, flags_to_ban=5)
    return replace(cell, **changed)


def in_folder(folder: Path) -> Context:
    return Context(Store(folder / "records", folder / "artefacts"))


@pytest.fixture(scope="module")
def context(tmp_path_factory) -> Context:
    made = in_folder(tmp_path_factory.mktemp("tuned"))
    run_cells([calibration()], made)
    return made


@pytest.mark.parametrize("changed", [{}, {"count": "pairs"}, {"flags_to_ban": 4}])
def test_the_calibrated_detector_closes_at_the_quota_and_counts_as_told(context, changed) -> None:
    cell = calibration(**changed)
    run_cells([cell], context)
    record, detector = context.record(cell), cell.load(context)
    assert (detector.flags_to_ban, detector.count) == (cell.flags_to_ban, cell.count)
    assert record["flags"] <= 0.02 * record["length"] * cell.flags_to_ban
    assert record["flags"] > 0
    found = replay(detector, as_floats(benign_stream(BENIGN, 0)))
    assert (found.flags, len(found.bans)) == (record["flags"], record["bans"])
    assert record["bans"] > 0 or cell.flags_to_ban > record["flags"]
    assert replace(cell, flags_to_ban=50).flags_to_ban == WORLD.calibrate().flags_to_ban


def test_a_similarity_detector_is_the_same_by_either_cell(context) -> None:
    """Of a stream without near-duplicates, in the same order."""
    cell = calibration(stream=BENIGN[:1])
    other = Tune("tiny", Similarity(WORLD.train_encoder(), flags_to_ban=5), BENIGN[:1], fpr=0.02)
    run_cells([cell, other], context)
    assert context.record(other.distinct)["kept"] == 120
    one, two = context.record(cell), context.record(other)
    same = {"delta", "flags", "bans", "length", "fpr_low", "fpr_high", "flag_rate", "settings", "count"}
    assert {name: one[name] for name in same} == {name: two[name] for name in same}
    assert cell.load(context).delta == other.load(context).delta


@pytest.mark.parametrize("own_sets", [1, None])
def test_a_likelihood_is_about_that_of_the_victims_kind(context, own_sets) -> None:
    judge = replace(DETECTORS["vae"](WORLD), own_sets=own_sets)
    cell = Tune("tiny", judge, BENIGN, fpr=0.02)
    run_cells([cell], context)
    features = judge.make(context).features(as_floats(cell.distinct.load(context)))
    own = features[: cell.distinct.leading(1, context)]
    assert cell.load(context).alpha == pytest.approx(mean_likelihood(own if own_sets else features), abs=1e-4)
    assert abs(mean_likelihood(own) - mean_likelihood(features)) > 0.01


def test_the_record_names_its_bundle(context) -> None:
    cell = calibration()
    bundle = context.artefact(cell) / "bundle"
    assert context.record(cell)["bundle_digest"] == bundle_digest(bundle)


def missing(_bundle: Path) -> None:
    raise ModuleNotFoundError("onnxruntime")


def alike(one, other) -> None:
    for field in fields(one):
        if field.name != "encoder":
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


def test_without_onnx_runtime_the_bundle_is_read_but_for_its_encoder(context, monkeypatch) -> None:
    cell = calibration()
    expected = cell.load(context)
    monkeypatch.setattr(tuned, "load_bundle", missing)
    monkeypatch.setattr(base, "has_exporter", lambda: False)
    found = cell.load(context)
    assert isinstance(found.encoder, TorchEncoder)
    alike(found, expected)


def test_where_nothing_is_exported_the_parts_are_kept(context, tmp_path, monkeypatch) -> None:
    cell, here = calibration(), in_folder(tmp_path)
    here.store.artefacts = context.store.artefacts
    monkeypatch.setattr(base, "has_exporter", lambda: False)
    kept = cell.untuned(context)
    expected = tuned.tune(
        kept, benign_stream(BENIGN, 0), lambda _: None, lambda *_: None, fpr=cell.fpr, own=None
    )
    assert "bundle_digest" not in expected.keep(tmp_path, cell.described())
    assert not (tmp_path / "bundle").exists()
    alike(tuned.load_tuned(tmp_path, lambda: kept), expected.detector)


def test_what_an_earlier_version_kept_is_read(context, tmp_path) -> None:
    """Its similarity cell wrote δ alone, and the axes."""
    axes = np.eye(2, 4, dtype=np.float32)
    (tmp_path / "detector.json").write_text(json.dumps({"delta": 0.25}), encoding="utf-8")
    save_file({"axes": axes}, tmp_path / "detector.safetensors")
    found = tuned.load_tuned(tmp_path, lambda: calibration().untuned(context))
    assert isinstance(found, SimilarityDetector)
    assert (found.delta, found.flags_to_ban) == (0.25, 5)
    np.testing.assert_array_equal(found.axes, axes)
