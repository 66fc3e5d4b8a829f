"""Degrees of hardness, outlier scores and adversarial views, against hand-made models."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from redhanded.lab.attacks import LinfPgd
from redhanded.lab.encoders.embed import TorchEncoder, export_onnx
from redhanded.lab.encoders.hardness import Hardness, train_with_snapshots
from redhanded.lab.encoders.outliers import LogOdds, train_outlier_classifier
from redhanded.lab.encoders.seat import SEAT_PGD, adversarial_view
from redhanded.lab.models import ConvNet, build
from redhanded.lab.training import Training, predict

CLASSES = 3


class Says(nn.Module):
    """Answers each image by a table of labels, which its first pixel picks a row of."""

    def __init__(self, labels: list[int]) -> None:
        super().__init__()
        self.register_buffer("rows", torch.eye(CLASSES)[torch.tensor(labels)])

    def forward(self, images: Tensor) -> Tensor:
        place = (images[:, 0, 0, 0] * 10).round().long()
        return self.rows[place]


def test_hardness_is_when_the_prediction_settles() -> None:
    # a column an image: settled from the start; only the last; wavers after agreeing; from the second
    snapshots = [Says([1, 0, 2, 0]), Says([1, 0, 0, 1]), Says([1, 0, 1, 1]), Says([1, 2, 2, 1])]
    images = torch.zeros(4, 3, 2, 2)
    images[:, 0, 0, 0] = torch.arange(4) / 10
    assert Hardness(snapshots)(images).flatten().tolist() == [0, 3, 3, 1]


def test_hardness_runs_in_onnx() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Hardness([nn.Sequential(nn.Flatten(), nn.Linear(3072, CLASSES)) for _ in range(3)])
    images = np.random.default_rng(0).random((40, 3, 32, 32), dtype=np.float32)
    here = TorchEncoder(network)(images)
    assert len(np.unique(here)) > 1
    np.testing.assert_array_equal(export_onnx(network)(images), here)


def test_snapshots_are_taken_at_equal_parts_and_the_last_is_the_model() -> None:
    generator = torch.Generator().manual_seed(0)
    model = build(ConvNet(((4,), (4,))), 2, generator)
    kept: dict[int, Tensor] = {}
    steps: list[int] = []
    train_with_snapshots(
        model,
        torch.rand(80, 3, 8, 8, generator=generator),
        torch.eye(2).repeat(40, 1),
        Training(epochs=8, batch=10, lr=0.1),
        generator,
        4,
        lambda place, part: kept.setdefault(place, predict(part, torch.full((1, 3, 8, 8), 0.3))),
        progress=lambda done, of: steps.append(done),
    )
    assert list(kept) == [0, 1, 2, 3]
    assert steps[-1] == 64
    torch.testing.assert_close(kept[3], predict(model, torch.full((1, 3, 8, 8), 0.3)))
    assert len({tuple(part.flatten().tolist()) for part in kept.values()}) == 4


def test_the_outlier_classifier_tells_kinds_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    inside = torch.rand(120, 3, 8, 8, generator=generator) * 0.4
    outside = 0.6 + torch.rand(120, 3, 8, 8, generator=generator) * 0.4
    model = train_outlier_classifier(
        ConvNet(((4,), (8,))), inside, outside, Training(epochs=4, batch=20, lr=0.1), generator
    )
    assert isinstance(model, LogOdds)
    assert (predict(model, inside) > 0).float().mean() > 0.95
    assert (predict(model, outside) < 0).float().mean() > 0.95


def test_adversarial_views_lead_away_from_the_victims_answer_within_the_ball() -> None:
    generator = torch.Generator().manual_seed(1)
    victim = build(ConvNet(((8,), (8,))), CLASSES, generator).eval()
    images = torch.rand(64, 3, 8, 8, generator=generator)
    with torch.no_grad():  # a decision worth leaving
        victim[-1].weight.mul_(20)
    changed = adversarial_view(victim, SEAT_PGD)(images, generator)
    assert (changed - images).abs().max() <= 24 / 255 + 1e-6
    assert changed.min() >= 0
    assert changed.max() <= 1
    said = predict(victim, images).argmax(1)
    before, after = (predict(victim, part).softmax(1).gather(1, said[:, None]) for part in (images, changed))
    assert (after <= before + 1e-4).float().mean() > 0.9
    assert (predict(victim, changed).argmax(1) != said).float().mean() > 0.5


def test_away_is_the_opposite_of_towards() -> None:
    generator = torch.Generator().manual_seed(2)
    victim = build(ConvNet(((4,), (4,))), CLASSES, generator).eval().double()
    images = torch.rand(5, 3, 8, 8, generator=generator, dtype=torch.float64) * 0.5 + 0.25
    classes = torch.tensor([0, 1, 2, 0, 1])
    once = LinfPgd(epsilon=0.01, steps=1, random_start=False)
    towards = once.descend(victim, images, images, classes)
    away = once.descend(victim, images, images, classes, away=True)
    torch.testing.assert_close(away - images, images - towards)
    assert (away != images).any()


@pytest.mark.parametrize("count", [1, 7])
def test_few_steps_still_give_every_snapshot(count: int) -> None:
    generator = torch.Generator().manual_seed(0)
    model = build(ConvNet(((4,), (4,))), 2, generator)
    kept: list[int] = []
    train_with_snapshots(
        model,
        torch.rand(4, 3, 8, 8, generator=generator),
        torch.eye(2).repeat(2, 1),
        Training(epochs=1, batch=2, lr=0.1),
        generator,
        count,
        lambda place, part: kept.append(place),
    )
    assert kept == list(range(count))
