"""An extraction judged as it goes: as the same one logged and replayed, and wherever it is cut short."""

import weakref
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from redhanded.errors import OutOfTimeError, RedhandedError
from redhanded.experiments.cells import Calibrate, Detect, Extract, Honest, Tune, Watched, adapt, base
from redhanded.experiments.cells.adapt import Blinded, Chained, Filtered, TrainSubstitute
from redhanded.experiments.cells.base import MODEL
from redhanded.experiments.cells.datasets import Composed
from redhanded.experiments.cells.judges import Blacklight, Prada
from redhanded.experiments.runner.context import Context
from redhanded.experiments.runner.run import run_cells
from redhanded.experiments.runner.store import Store
from redhanded.lab.adaptive.blinding import Transform
from redhanded.lab.adaptive.filtering import Filtering
from redhanded.lab.attacks.dfme import Dfme
from redhanded.lab.encoders.embed import TorchEncoder
from redhanded.lab.encoders.similarity import Contrastive
from redhanded.lab.training import Checkpoint
from tiny import ONCE, tiny

WORLD = tiny()
BENIGN = (Composed("digits", "honest", 120),)
HELD_OUT = (Composed("digits", "test", 60, seed=1),)
STOLEN = ("accuracy", "agreement", "victim_accuracy", "queries", "round_queries", "round_accuracy")
JUDGED = (
    *("flags", "bans", "accounts_used", "flag_rate", "flag_rate_low", "flag_rate_high"),
    *("benign_floor", "benign_floor_extrapolated", "fpr", "fpr_low", "fpr_high"),
    *("detector", "flags_to_ban", "calibration_key"),
)


def thief(adaptation=None, budget=130, name="dfme") -> Extract:
    made = WORLD.extract(name, WORLD.n_seed_small, budget=budget)
    if name == "dfme":
        # 30 queries an iteration; the last one is not whole
        attack = Dfme(budget, batch=6, n_student=3, generator_width=4, latent=5, student_lr=0.05)
        made = replace(made, attack=attack)
    return replace(made, adaptation=adaptation)


@cache
def judges():
    """Similarity, a detector of all accounts, and one that asks for answers."""
    similarity = Calibrate("tiny", WORLD.train_encoder(), BENIGN, fpr=0.02, flags_to_ban=5)
    return (
        similarity,
        Tune("tiny", Blacklight(), BENIGN, fpr=0.02),
        Tune("tiny", Prada(WORLD.train_victim()), BENIGN, fpr=0.05),
    )


def watched(extraction: Extract) -> Watched:
    return Watched(extraction, judges(), tuple(Honest(judge, HELD_OUT) for judge in judges()))


@cache
def filtered() -> Filtered:
    config = Contrastive(pretraining=ONCE, contrastive=ONCE)
    substitute = TrainSubstitute("tiny", Composed("digits", "thief", 200, seed=7), config)
    return Filtered(substitute, Filtering(capacity=40))


@pytest.fixture(scope="module", autouse=True)
def _exported_once():
    """An encoder is exported whenever it is loaded: seconds, for every slice."""
    exported, export = {}, base.export_onnx

    def once(network):
        digest = TorchEncoder(network).digest
        if digest not in exported:
            exported[digest] = export(network)
        return exported[digest]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "export_onnx", once)
        patch.setattr(adapt, "FLAG_RATE", 0.3)  # a filter that finds something to drop
        yield


@pytest.fixture(scope="module")
def shared(_exported_once, tmp_path_factory) -> Path:
    """The victim, the detectors and the honest users, made once."""
    root = tmp_path_factory.mktemp("shared")
    context = Context(Store(root / "records", root / "artefacts"))
    run_cells([*watched(thief()).needs, *filtered().needs], context)
    return root


@pytest.fixture
def context(shared, tmp_path) -> Context:
    """A store of one's own, which has what is shared."""
    return context_of(shared, tmp_path)


@pytest.fixture(scope="module")
def uninterrupted(shared, tmp_path_factory) -> Context:
    """A store for what several tests compare with."""
    return context_of(shared, tmp_path_factory.mktemp("uninterrupted"))


def context_of(shared: Path, root: Path) -> Context:
    for name in ("records", "artefacts"):
        (root / name).mkdir()
        for path in (shared / name).iterdir():
            (root / name / path.name).symlink_to(path)
    return Context(Store(root / "records", root / "artefacts"))


@dataclass
class Hurried(Context):
    """Out of time from the start."""

    def checkpoint(self, cell, name) -> Checkpoint:
        return Checkpoint(super().checkpoint(cell, name).path, deadline=-np.inf)


@dataclass
class Eager(Context):
    """Saves after every iteration."""

    def checkpoint(self, cell, name) -> Checkpoint:
        return Checkpoint(super().checkpoint(cell, name).path, every=0.0)


def measured(cell, context: Context):
    run_cells([cell], context)
    record = context.store.record(cell)
    assert record is not None
    return timeless(record)


def timeless(record):
    return {name: value for name, value in record.items() if not name.endswith("seconds")}


def same_weights(one: Path, other: Path) -> bool:
    ours, theirs = load_file(one / MODEL), load_file(other / MODEL)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


ADAPTATIONS = {
    "none": lambda: None,
    "blinding": lambda: Blinded(Transform("gaussian", "corrected", 0.1)),
    "filtering": filtered,
    "both": lambda: Chained(filtered(), Blinded(Transform("brightness", "corrected", 0.1))),
}
every_adaptation = pytest.mark.parametrize(
    "adaptation",
    [
        "none",
        pytest.param("blinding", marks=pytest.mark.slow),
        pytest.param("filtering", marks=pytest.mark.slow),
        "both",
    ],
)


@every_adaptation
def test_it_is_an_extraction_and_its_detections(adaptation, context, uninterrupted):
    """The same queries, the same clone, the same verdicts of every detector."""
    extraction = thief(ADAPTATIONS[adaptation]())
    cell = watched(extraction)
    found = measured(cell, uninterrupted)
    stolen = measured(extraction, context)
    assert same_weights(uninterrupted.artefact(cell), context.artefact(extraction))
    traits = {name for name in stolen if name.startswith("traits_")}
    assert "traits_confidence_victim" in traits
    for name in {*STOLEN, *traits}:
        assert found[name] == stolen[name]
    for place, judge in enumerate(cell.judges):
        detection = measured(Detect(judge, extraction, cell.honest[place]), context)
        prefix = "" if place == 0 else f"{judge.title}_"
        for name in JUDGED:
            assert found[prefix + name] == detection[name], (judge.title, name)
    assert found["bans"] > 1 or adaptation != "none"
    assert found["kind"] == "detection"
    assert found["adaptation"] == stolen["adaptation"]


@every_adaptation
def test_stopped_after_every_iteration_it_ends_where_it_would_have(adaptation, context, uninterrupted):
    """Each slice is out of time as soon as it starts, so nothing is carried over but the checkpoint."""
    cell = watched(thief(ADAPTATIONS[adaptation]()))
    whole = measured(cell, uninterrupted)
    scratch = context.store.scratch(cell)
    slices, found = 0, None
    while found is None:
        slices += 1
        try:
            found = cell.run(Hurried(context.store))
        except OutOfTimeError:
            assert [path.name for path in scratch.iterdir()] == ["attack.checkpoint.pt"]
    assert slices >= 5
    assert timeless(found).items() <= whole.items()
    assert same_weights(scratch, uninterrupted.artefact(cell))


@pytest.mark.parametrize(
    "queries", [pytest.param(1, marks=pytest.mark.slow), pytest.param(50, marks=pytest.mark.slow), 95]
)
def test_killed_anywhere_it_ends_where_it_would_have(queries, context, uninterrupted):
    """What came after the last checkpoint is done again, and counted once."""
    cell = watched(thief())
    whole = measured(cell, uninterrupted)

    @contextmanager
    def killing(title):
        def kill(done: int, of: int) -> None:
            if done >= queries:
                raise KeyboardInterrupt

        yield kill

    with pytest.raises(KeyboardInterrupt):
        cell.run(Eager(context.store, reporter=killing))
    saved = context.store.scratch(cell) / "attack.checkpoint.pt"
    assert saved.exists() == (queries > 30)
    assert measured(cell, context) == whole
    assert [path.name for path in context.artefact(cell).iterdir()] == [MODEL]


def test_no_round_is_remembered(context, monkeypatch):
    """When the next round comes, nothing of the last but one is alive."""
    alive: list[weakref.ref] = []
    plain = Dfme.run

    def run(self, *given, **named):
        for part in plain(self, *given, **named):
            assert sum(ref() is not None for ref in alive) <= 3  # the last round's
            alive.extend(weakref.ref(tensor) for tensor in (part.crafted, part.sent, part.labels))
            yield part

    monkeypatch.setattr(Dfme, "run", run)
    watched(thief()).run(context)
    assert len(alive) > 20


def test_an_attack_that_cannot_resume_says_so(context):
    """It is watched all the same."""
    cell = watched(thief(name="random", budget=30))
    assert not cell.resumes
    assert watched(thief()).resumes
    found = measured(cell, context)
    stolen = measured(cell.extraction, context)
    assert {name: found[name] for name in STOLEN} == {name: stolen[name] for name in STOLEN}
    assert found["accounts_used"] == 1 + found["bans"] - (found["bans"] * 5 == 30)


def test_nobody_need_watch(context):
    """Table III asks for the clone alone."""
    found = measured(Watched(thief(), (), ()), context)
    assert found["detectors"] == "nobody"
    assert found["queries"] == 130
    assert "flags" not in found


def test_judges_and_honest_users_must_match():
    """One line, naming the field."""
    with pytest.raises(RedhandedError, match=r"^honest: [^\n]+; [^\n]+$"):
        Watched(thief(), judges(), ())
    twice = (judges()[0],) * 2
    with pytest.raises(RedhandedError, match=r"^judges: [^\n]+; [^\n]+$"):
        Watched(thief(), twice, tuple(Honest(judge, HELD_OUT) for judge in twice))
