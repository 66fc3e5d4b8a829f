"""The long steps of an attack as files."""

from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import nn

from redhanded.errors import OutOfTimeError
from redhanded.experiments.context import Context
from redhanded.experiments.journal import FileJournal
from redhanded.experiments.run import run_cells
from redhanded.experiments.store import Record, Store
from redhanded.lab.attacks.resume import Tensors
from redhanded.lab.models import ConvNet, build
from redhanded.lab.training import Checkpoint, Training, train_classifier

from .tiny import tiny

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
    first = FileJournal(tmp_path).step(lambda: counted.drawn(generator), generator)
    after = torch.rand(2, generator=generator)
    other = torch.Generator().manual_seed(2)
    again = FileJournal(tmp_path).step(lambda: counted.drawn(other), other)
    assert counted.calls == 1
    assert first.keys() == again.keys() == {"drawn", "kept"}
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert torch.equal(torch.rand(2, generator=other), after)


def test_steps_are_told_apart_by_their_place(tmp_path: Path) -> None:
    """Equal steps, taken one after the other, draw on."""
    counted, generator = Counted(), torch.Generator().manual_seed(1)
    journal = FileJournal(tmp_path)
    one, other = (journal.step(lambda: counted.drawn(generator), generator) for _ in range(2))
    assert counted.calls == 2
    assert not torch.equal(one["drawn"], other["drawn"])


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

        journal.training(model, train, generator)
        models.append(model)
    return models


def weights(model: nn.Module) -> torch.Tensor:
    """All of a model's state in a row."""
    return torch.cat([value.flatten().double() for value in model.state_dict().values()])


def test_a_training_under_way_is_nobody_elses(tmp_path: Path) -> None:
    """A kill between a training's end and the removal of its checkpoint leaves the next one untouched."""
    whole = trained(FileJournal(tmp_path / "whole"), (1, 2))
    found: list[nn.Module] = []
    left_over = 0
    while not found:
        with suppress(OutOfTimeError):  # the deadline falls there as well
            found = trained(FileJournal(tmp_path / "cut", deadline=0.0), (1, 2))
        names = {path.name for path in (tmp_path / "cut").iterdir()}
        left_over += any(f"under-way-{name}" in names for name in names)
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
