"""The long steps of an attack as files."""

import itertools
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import nn

from redhanded.errors import OutOfTimeError
from redhanded.experiments.measure.journal import FileJournal
from redhanded.experiments.runner.context import Context
from redhanded.experiments.runner.run import RESERVE, run_cells
from redhanded.experiments.runner.store import Record, Store
from redhanded.lab.attacks.resume import Tensors
from redhanded.lab.models import ConvNet, build
from redhanded.lab.training import Checkpoint, Training, train_classifier
from tiny import tiny

GIVEN = torch.tensor([3, 1])
EPOCHS = Training(epochs=3, batch=4, lr=0.05)


class Counted:
    """Draws something, and counts how often it had to."""

    def __init__(self) -> None:
        self.calls = 0

    def drawn(self, generator: torch.Generator) -> Tensors:
        self.calls += 1
        return {"drawn": torch.rand(3, generator=generator), "kept": torch.tensor([True, False])}


def test_a_step_is_taken_once(tmp_path: Path) -> None:
    """The second time it is read, and the generator stands where it stood."""
    counted, generator = Counted(), torch.Generator().manual_seed(1)
    first = FileJournal(tmp_path, "here").step(lambda: counted.drawn(generator), [GIVEN], generator)
    after = torch.rand(2, generator=generator)
    other = torch.Generator().manual_seed(1)
    again = FileJournal(tmp_path, "here").step(lambda: counted.drawn(other), [GIVEN], other)
    assert counted.calls == 1
    assert first.keys() == again.keys() == {"drawn", "kept"}
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert torch.equal(torch.rand(2, generator=other), after)


def test_steps_are_told_apart_by_their_place(tmp_path: Path) -> None:
    """Equal steps, taken one after the other, draw on."""
    counted, generator = Counted(), torch.Generator().manual_seed(1)
    journal = FileJournal(tmp_path, "here")
    one, other = (journal.step(lambda: counted.drawn(generator), [GIVEN], generator) for _ in range(2))
    assert counted.calls == 2
    assert not torch.equal(one["drawn"], other["drawn"])


@pytest.mark.parametrize(
    ("given", "seed", "machine"),
    [(GIVEN + 1, 1, "here"), (GIVEN[:1], 1, "here"), (GIVEN, 2, "here"), (GIVEN, 1, "there")],
)
def test_a_step_that_was_given_something_else_is_taken_anew(
    given: torch.Tensor, seed: int, machine: str, tmp_path: Path
) -> None:
    """And all that followed it; what came before stays."""
    counted, generator = Counted(), torch.Generator().manual_seed(1)
    journal = FileJournal(tmp_path, "here")
    for _ in range(3):
        journal.step(lambda: counted.drawn(generator), [GIVEN], generator)
    if (seed, machine) == (1, "here"):  # the first as it was, the second not
        again = torch.Generator().manual_seed(1)
        journal = FileJournal(tmp_path, "here")
        journal.step(lambda: counted.drawn(again), [GIVEN], again)
        assert counted.calls == 3
        journal.step(lambda: counted.drawn(again), [given], again)
        assert len(list(tmp_path.iterdir())) == 2
    else:
        again = torch.Generator().manual_seed(seed)
        FileJournal(tmp_path, machine).step(lambda: counted.drawn(again), [given], again)
        assert len(list(tmp_path.iterdir())) == 1
    assert counted.calls == 4


def trained(journal: FileJournal, seeds: tuple[int, ...]) -> list[nn.Module]:
    """Train a model for each seed, one after the other, through the journal."""
    generator = torch.Generator().manual_seed(0)
    models = []
    for seed in seeds:
        images = torch.rand(10, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
        labels = torch.eye(5).repeat(2, 1)
        model = build(ConvNet(((4,), (6,))), 5, generator)

        def train(
            checkpoint: Checkpoint | None,
            model: nn.Module = model,
            images: torch.Tensor = images,
            labels: torch.Tensor = labels,
        ) -> None:
            train_classifier(model, images, labels, EPOCHS, generator, checkpoint=checkpoint)

        journal.training(model, train, [labels.argmax(1)], generator)
        models.append(model)
    return models


def weights(model: nn.Module) -> torch.Tensor:
    """All of a model's state in a row."""
    return torch.cat([value.flatten().double() for value in model.state_dict().values()])


def test_a_training_under_way_is_nobody_elses(tmp_path: Path) -> None:
    """A kill between a training's end and the removal of its checkpoint leaves the next one untouched."""
    whole = trained(FileJournal(tmp_path / "whole", "here"), (1, 2))
    found: list[nn.Module] = []
    left_over = ended = 0
    while not found:
        with suppress(OutOfTimeError):  # the deadline falls there as well
            found = trained(FileJournal(tmp_path / "cut", "here", 0.0), (1, 2))
        names = [path.name for path in (tmp_path / "cut").iterdir()]
        trainings = sum(name.startswith("trained-") for name in names)
        left_over += trainings > ended and any(name.startswith("under-way-") for name in names)
        ended = trainings
    assert left_over == 2
    assert [weights(model).tolist() for model in found] == [weights(model).tolist() for model in whole]
    assert not any(path.name.startswith("under-way") for path in (tmp_path / "cut").iterdir())


@pytest.mark.parametrize("name", ["jb-top3", "random"])
def test_an_extraction_goes_on_where_its_time_was_up(name: str, tmp_path: Path) -> None:
    """Slice after slice, with time for nothing but a step: the record and the log are those of one run."""
    world = tiny()
    cell = world.extract(name, world.n_seed_small)
    assert cell.resumes
    shared = Context(Store(tmp_path / "records", tmp_path / "artefacts"))
    run_cells(cell.needs, shared)
    sliced = Context(shared.store, deadline=0.0)
    found: Record = {}
    slices = 0
    while not found:
        slices += 1
        with suppress(OutOfTimeError):
            found = cell.run(sliced)
    assert slices >= 3
    steps = sliced.store.scratch(cell)
    log = {path.name: path.read_bytes() for path in (steps / "log").iterdir()}
    for path in steps.glob("*.checkpoint.*"):
        path.unlink()
    assert cell.run(Context(shared.store)) == found
    assert {path.name: path.read_bytes() for path in (steps / "log").iterdir()} == log


def test_an_alarm_at_any_moment_leaves_what_can_be_gone_on_from(tmp_path: Path) -> None:
    """Time limits, which ring wherever the attack is, as a run sets them."""
    world = tiny()
    cell = world.extract("jb-top3", world.n_seed_small)
    whole, cut = (
        Store(tmp_path / name / "records", tmp_path / name / "artefacts") for name in ("one", "two")
    )
    run_cells([cell], Context(whole))
    run_cells(cell.needs, Context(cut))
    limits = itertools.count(1)
    while cut.record(cell) is None:
        run_cells([cell], Context(cut), time_limit=RESERVE + 0.05 * next(limits))
    measured = {"seconds", "revision"}
    one, two = (
        {name: value for name, value in (store.record(cell) or {}).items() if name not in measured}
        for store in (whole, cut)
    )
    assert one == two
    folders = [store.artefacts / cell.key[:32] for store in (whole, cut)]
    names = {path.relative_to(folder) for folder in folders for path in folder.rglob("*") if path.is_file()}
    assert {(folders[0] / name).read_bytes() == (folders[1] / name).read_bytes() for name in names} == {True}
