"""The similarity encoder's two losses and two trainings."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from redhanded.lab.encoders import similarity
from redhanded.lab.encoders.similarity import Contrastive, Loss, contrast, contrastive_loss, pretrain
from redhanded.lab.encoders.transforms import positive
from redhanded.lab.models import Normalise, SimNet, seeded
from redhanded.lab.training import Training

ANCHORS = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
NEAR = torch.tensor([[1.0, 0.0], [1.0, 2.0]])
FAR = torch.tensor([[3.0, 4.0], [1.0, 1.0]])
BRIEF = Training(epochs=2, batch=8, lr=1e-3, nesterov=True)


@pytest.mark.parametrize(
    ("loss", "margin", "expected"),
    [
        # squared distances: 1 and 4 to the positives, 25 and 1 to the negatives
        ("per-pair", 10.0, ((1 + 0) + (4 + 9)) / 2),
        ("per-pair", 5.0, ((1 + 0) + (4 + 4)) / 2),
        # means over four elements: 5/4 and 26/4, hinged together
        ("released", 10.0, 1.25 + (10 - 6.5)),
        ("released", 5.0, 1.25),
    ],
)
def test_contrastive_loss_by_hand(loss: Loss, margin: float, expected: float) -> None:
    assert float(contrastive_loss(ANCHORS, NEAR, FAR, loss, margin)) == pytest.approx(expected)


def test_the_defaults_are_the_released_settings() -> None:
    config = Contrastive()
    assert (config.loss, config.margin_squared, config.architecture) == ("per-pair", 10.0, SimNet())
    pretraining, contrastive = config.pretraining, config.contrastive
    assert (pretraining.epochs, pretraining.batch, pretraining.optimiser, pretraining.lr) == (
        200,
        64,
        "adam",
        1e-3,
    )
    assert (contrastive.epochs, contrastive.batch, contrastive.optimiser, contrastive.lr) == (
        30,
        32,
        "sgd",
        1e-4,
    )
    assert (contrastive.momentum, contrastive.nesterov, contrastive.weight_decay) == (0.9, True, 1e-4)
    for training in (pretraining, contrastive):
        assert (training.schedule, training.step_epochs, training.step_factor) == ("step", 30, 0.1)
        assert not training.crop_flip  # they have views of their own


def data(count: int = 24) -> tuple[Tensor, Tensor]:
    images = torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    return images, torch.arange(count) % 4


def features(encoder: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return encoder(images)


def test_pretrain_returns_the_trunk_without_its_head() -> None:
    images, labels = data()

    def trained(epochs: int) -> nn.Sequential:
        generator = torch.Generator().manual_seed(3)
        return pretrain(images, labels, SimNet(features=12), replace(BRIEF, epochs=epochs), generator)

    trunk = trained(2)
    assert not trunk.training
    assert isinstance(trunk[0], Normalise)
    assert features(trunk, images).shape == (24, 12)
    assert torch.equal(features(trained(2), images), features(trunk, images))
    fresh = trained(0)
    assert [value.shape for value in fresh.parameters()] == [
        value.shape for value in SimNet(features=12).trunk().parameters()
    ]
    moved = [not torch.equal(a, b) for a, b in zip(trunk.parameters(), fresh.parameters(), strict=True)]
    assert all(moved)  # the whole trunk, from the first convolution on


def tiny(seed: int = 0) -> nn.Sequential:
    with seeded(torch.Generator().manual_seed(seed)):
        return nn.Sequential(
            Normalise(),
            nn.Conv2d(3, 6, 3, stride=2),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(96, 8),
        )


@pytest.mark.parametrize("loss", ["per-pair", "released"])
def test_contrast_brings_positives_nearer_than_others(loss: Loss, generator: torch.Generator) -> None:
    images, _ = data(32)
    images = images * 0.2 + torch.rand(32, 3, 1, 1, generator=generator) * 0.8
    views = positive(images, torch.Generator().manual_seed(9))

    def ratio(encoder: nn.Module) -> float:
        near = (features(encoder, images) - features(encoder, views)).square().sum(1)
        apart = (features(encoder, images) - features(encoder, images).roll(5, 0)).square().sum(1)
        return float(near.mean() / apart.mean())

    encoder = tiny()
    before = ratio(encoder)
    config = Contrastive(loss=loss, contrastive=replace(BRIEF, epochs=12, lr=3e-3))
    contrast(encoder, images, config, generator)
    assert not encoder.training
    assert ratio(encoder) < 0.7 * before


def test_contrast_compares_with_a_view_and_with_another_image(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, _ = data(19)  # the last batch has three
    calls: list[tuple[Tensor, Tensor, Tensor]] = []
    real = contrastive_loss

    def watched(anchors: Tensor, positives: Tensor, negatives: Tensor, *rest: Any) -> Tensor:
        calls.append((anchors.detach(), positives.detach(), negatives.detach()))
        return real(anchors, positives, negatives, *rest)

    monkeypatch.setattr(similarity, "contrastive_loss", watched)
    encoder = tiny()
    # a rate of nothing leaves the encoder as it is, so that its features can be looked up
    still = replace(BRIEF, epochs=3, lr=0.0)
    contrast(encoder, images, Contrastive(contrastive=still), generator)
    known = features(encoder, images)

    def place(row: Tensor) -> int:
        distance, at = (known - row).square().sum(1).min(0)
        return int(at) if distance < 1e-8 else -1

    turns = set()
    assert [len(anchors) for anchors, _, _ in calls] == [8, 8, 3] * 3
    for anchors, positives, negatives in calls:
        mine, others = [place(row) for row in anchors], [place(row) for row in negatives]
        assert sorted(mine) == sorted(others)
        assert -1 not in mine
        assert all(a != b for a, b in zip(mine, others, strict=True))
        turns.add((others.index(mine[0])) % len(mine))
        assert not (anchors == positives).all(1).any()
    assert len(turns) > 2  # not always the same neighbour


def test_contrast_is_deterministic_and_in_place() -> None:
    images, _ = data(16)
    config = Contrastive(contrastive=BRIEF)
    results = []
    for seed in (0, 0, 1):
        encoder = tiny()
        contrast(encoder, images, config, torch.Generator().manual_seed(seed))
        results.append(features(encoder, images))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    assert not torch.equal(results[0], features(tiny(), images))
