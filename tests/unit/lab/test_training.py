"""Training: resuming, schedules, augmentation, and that it learns."""

import itertools
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn

from redhanded.errors import OutOfTimeError, RedhandedError
from redhanded.lab import training
from redhanded.lab.models import ConvNet, Normalise, build
from redhanded.lab.training import (
    Checkpoint,
    Training,
    crop_and_flip,
    fit,
    load_state,
    predict,
    save_state,
    train_classifier,
)

CLASSES = 3
IMAGES = torch.rand(22, 3, 8, 8, generator=torch.Generator().manual_seed(1))
LABELS = torch.eye(CLASSES)[torch.arange(22) % CLASSES]
SGD = Training(epochs=3, batch=8, lr=0.05, nesterov=True, crop_flip=True)
ADAM = Training(epochs=3, batch=8, optimiser="adam", lr=1e-3, crop_flip=True, schedule="linear")
STEPS = 9


class Dropping:
    """An architecture with batch norm and dropout."""

    def build(self, outputs: int) -> nn.Module:
        body = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.3), nn.Flatten()
        return nn.Sequential(Normalise(), *body, nn.Linear(6 * 36, outputs)).to(
            memory_format=torch.channels_last
        )


def trained(config: Training, checkpoint: Checkpoint | None = None) -> tuple[dict[str, Tensor], Tensor]:
    """Train from scratch; return the weights, and what the generator has come to."""
    generator = torch.Generator().manual_seed(4)
    model = build(Dropping(), CLASSES, generator)
    train_classifier(model, IMAGES, LABELS, config, generator, checkpoint=checkpoint)
    return model.state_dict(), generator.get_state()


def equal(one: tuple[dict[str, Tensor], Tensor], other: tuple[dict[str, Tensor], Tensor]) -> bool:
    assert one[0].keys() == other[0].keys()
    same = all(torch.equal(value, other[0][name]) for name, value in one[0].items())
    return same and torch.equal(one[1], other[1])


@pytest.fixture
def interrupted_after(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make the deadline come when so many steps are done, whatever the clock says."""

    def after(checkpoint: Checkpoint, steps: int) -> None:
        count = itertools.count(1)
        real = F.cross_entropy

        def counting(*args: Any) -> Tensor:
            checkpoint.deadline = 0.0 if next(count) == steps else None
            return real(*args)

        monkeypatch.setattr(training.F, "cross_entropy", counting)

    return after


@pytest.mark.parametrize("config", [SGD, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("steps", [1, 2, 3, 5, STEPS])
def test_resumed_training_ends_where_an_uninterrupted_one_does(
    config: Training, steps: int, tmp_path: Path, interrupted_after: Any
) -> None:
    whole = trained(config)
    checkpoint = Checkpoint(tmp_path / "deep" / "model.safetensors")
    interrupted_after(checkpoint, steps)
    with pytest.raises(OutOfTimeError, match=r"^[^\n]+$"):
        trained(config, checkpoint)
    assert [path.name for path in checkpoint.path.parent.iterdir()] == ["model.safetensors"]
    interrupted_after(checkpoint, -1)
    assert equal(trained(config, checkpoint), whole)


@pytest.mark.parametrize("config", [SGD, ADAM], ids=["sgd", "adam"])
def test_training_interrupted_at_every_step_ends_the_same(config: Training, tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "model.safetensors", deadline=0.0)
    for _ in range(STEPS):
        with pytest.raises(OutOfTimeError):
            trained(config, checkpoint)
    assert equal(trained(config, checkpoint), trained(config))


def test_saving_along_the_way_changes_nothing(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "model.safetensors", every=0.0)
    assert equal(trained(SGD, checkpoint), trained(SGD))
    assert equal(trained(SGD, checkpoint), trained(SGD))  # and a finished one is not trained again


@pytest.mark.parametrize("content", [b"", b"half", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_file_that_is_no_checkpoint_is_named_in_one_line(content: bytes, tmp_path: Path) -> None:
    """The last is what safetensors made of nothing, as earlier versions wrote it."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(RedhandedError, match=r"model\.safetensors: [^\n]+; delete it and run again$"):
        trained(SGD, Checkpoint(path))


@pytest.mark.parametrize("damage", ["foreign", "scribbled", "code"])
def test_a_zip_that_is_no_checkpoint_is_named_in_one_line(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    if damage == "foreign":
        with ZipFile(path, "w") as archive:
            archive.writestr("letter.txt", "no tensors")
    elif damage == "scribbled":
        save_state(path, {"done": 3})
        path.write_bytes(path.read_bytes().replace(b"done", b"\xff" * 4))
    else:
        torch.save({"done": Dropping()}, path)
    with pytest.raises(RedhandedError, match=r"model\.pt: [^\n]+; delete it and run again$"):
        trained(SGD, Checkpoint(path))


def test_training_depends_on_the_generator_alone() -> None:
    before = torch.get_rng_state()
    one = trained(SGD)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert equal(trained(SGD), one)


def rates(config: Training, rows: int, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The rate of every step."""
    optimisers = []
    real = training._optimiser

    def kept(*args: Any) -> torch.optim.Optimizer:
        optimisers.append(real(*args))
        return optimisers[-1]

    monkeypatch.setattr(training, "_optimiser", kept)
    seen = []

    def loss(model: nn.Module, places: Tensor, generator: torch.Generator) -> Tensor:
        seen.append(optimisers[0].param_groups[0]["lr"])
        return model(torch.ones(len(places), 1)).sum()

    fit(nn.Linear(1, 1), rows, loss, config, torch.Generator().manual_seed(0))
    return seen


def test_step_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Training(epochs=7, batch=4, lr=0.8, step_epochs=3, step_factor=0.5)
    seen = rates(config, 8, monkeypatch)
    assert seen == [0.8] * 6 + [0.4] * 6 + [0.2] * 2  # two steps an epoch


def test_linear_schedule_warms_up_and_falls_to_nearly_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = rates(Training(epochs=40, batch=4, lr=1.0, schedule="linear"), 4, monkeypatch)
    assert seen == pytest.approx([0.25, 0.5, 0.75, 0.925] + [(40 - step) / 40 for step in range(4, 40)])


def test_optimisers_are_configured() -> None:
    parameters = [nn.Parameter(torch.ones(1))]
    sgd = training._optimiser(parameters, Training(lr=0.3, momentum=0.5, nesterov=True, weight_decay=0.2))
    assert isinstance(sgd, torch.optim.SGD)
    wanted = {"lr": 0.3, "momentum": 0.5, "nesterov": True, "weight_decay": 0.2}
    assert {name: sgd.param_groups[0][name] for name in wanted} == wanted
    adam = training._optimiser(parameters, Training(optimiser="adam", lr=0.3, weight_decay=0.2))
    assert isinstance(adam, torch.optim.Adam)
    assert {name: adam.param_groups[0][name] for name in ("lr", "weight_decay")} == {
        "lr": 0.3,
        "weight_decay": 0.2,
    }


@pytest.mark.parametrize("border", [1, 4])
def test_crop_and_flip_against_a_loop(border: int) -> None:
    images = torch.rand(40, 3, 6, 9, generator=torch.Generator().manual_seed(2))
    ours = crop_and_flip(images, torch.Generator().manual_seed(7), border)
    draws = torch.Generator().manual_seed(7)
    shift = torch.randint(0, 2 * border + 1, (2, 40, 1), generator=draws)[:, :, 0].tolist()
    mirrored = (torch.rand(40, 1, generator=draws)[:, 0] < 0.5).tolist()
    for image, mine, down, across, mirror in zip(images, ours, *shift, mirrored, strict=True):
        framed = torch.zeros(3, 6 + 2 * border, 9 + 2 * border)
        framed[:, border:-border, border:-border] = image
        window = framed[:, down : down + 6, across : across + 9]
        assert torch.equal(mine, window.flip(2) if mirror else window)
    assert 8 < sum(mirrored) < 32
    assert set(shift[0]) == set(shift[1]) == set(range(2 * border + 1))


def test_a_single_row_left_over_is_skipped() -> None:
    """Batch norm over one value a channel raises."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.BatchNorm1d(4), nn.Linear(4, CLASSES))
    sizes, told = [], []

    def loss(model: nn.Module, places: Tensor, generator: torch.Generator) -> Tensor:
        sizes.append(len(places))
        return F.cross_entropy(model(IMAGES[places]), LABELS[places])

    config = Training(epochs=5, batch=8)
    progress = lambda done, total: told.append((done, total))  # noqa: E731
    fit(model, 17, loss, config, torch.Generator().manual_seed(0), progress=progress)
    assert sizes == [8, 8] * 5
    assert told == [(10, 15), (15, 15)]  # the last step is told, skipped or not


@pytest.mark.parametrize(("rows", "batch"), [(1, 8), (3, 1)])
def test_single_rows_that_are_no_leftovers_are_trained_on(rows: int, batch: int) -> None:
    sizes = []

    def loss(model: nn.Module, places: Tensor, generator: torch.Generator) -> Tensor:
        sizes.append(len(places))
        return model(IMAGES[places].flatten(1)).sum()

    fit(nn.Linear(192, 1), rows, loss, Training(epochs=2, batch=batch), torch.Generator().manual_seed(0))
    assert sizes == [1] * 2 * rows


def test_nothing_to_train_on_changes_nothing(generator: torch.Generator) -> None:
    model = build(Dropping(), CLASSES, generator)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train_classifier(model, IMAGES[:0], torch.empty(0, 0), SGD, generator)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model.training


def test_every_epoch_sees_every_row_once_in_another_order(generator: torch.Generator) -> None:
    seen: list[int] = []

    def loss(model: nn.Module, places: Tensor, generator: torch.Generator) -> Tensor:
        seen.extend(places.tolist())
        return model(torch.ones(len(places), 1)).sum()

    fit(nn.Linear(1, 1), 10, loss, Training(epochs=4, batch=4), generator)
    epochs = [tuple(seen[at : at + 10]) for at in range(0, 40, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len(set(epochs)) == 4


@pytest.mark.parametrize(
    "config",
    [
        Training(epochs=8, batch=16, lr=0.05),
        Training(epochs=8, batch=16, optimiser="adam", lr=0.01, schedule="linear"),
    ],
    ids=["sgd", "adam"],
)
def test_learns_a_separable_set(config: Training, generator: torch.Generator) -> None:
    """The class is the brightest channel."""
    labels = torch.arange(120) % CLASSES
    images = torch.rand(120, 3, 8, 8, generator=generator) * 0.6
    images[torch.arange(120), labels] += 0.3
    model = build(ConvNet(((6,), (8,))), CLASSES, generator)
    train_classifier(model, images[:90], torch.eye(CLASSES)[labels[:90]], config, generator)
    assert not model.training
    assert (predict(model, images[90:]).argmax(1) == labels[90:]).float().mean() > 0.9


def test_learns_soft_labels(generator: torch.Generator) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    images = torch.zeros(4, 3, 8, 8)
    wanted = torch.tensor([[0.8, 0.2]]).expand(4, 2)
    train_classifier(model, images, wanted, Training(epochs=200, lr=0.5, weight_decay=0.0), generator)
    torch.testing.assert_close(predict(model, images).softmax(1), wanted, atol=0.01, rtol=0)


def test_predict_is_batched_and_in_evaluation_mode(generator: torch.Generator) -> None:
    model = build(Dropping(), CLASSES, generator).train()
    logits = predict(model, IMAGES, batch=5)
    assert not model.training
    assert logits.dtype == torch.float32
    assert not logits.requires_grad
    torch.testing.assert_close(logits, predict(model, IMAGES), atol=1e-5, rtol=0)
    assert len(predict(model, IMAGES[:0])) == 0


def test_a_checkpoint_that_cannot_be_opened_is_not_called_foreign(tmp_path: Path) -> None:
    path = tmp_path / "training.checkpoint.pt"
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        load_state(path)
