"""Adaptive Misinformation: the blend by hand, and a toy victim trained for it."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from redhanded.errors import OutOfTimeError, RedhandedError
from redhanded.lab.defences.misinformation import AdaptiveMisinformation, Misinformed, train_misinformation
from redhanded.lab.defences.outliers import DEFENDER
from redhanded.lab.defences.truncation import ArgmaxOf
from redhanded.lab.models import seeded
from redhanded.lab.oracles.victim import Probabilities
from redhanded.lab.training import Checkpoint, Training

CLASSES = 3
BRIEF = Training(epochs=40, batch=30, lr=0.5, momentum=0.9, weight_decay=0.0, schedule="linear")


def toy(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Images whose brightest channel is the class, their classes, and grey outliers."""
    labels = torch.arange(n) % CLASSES
    images = torch.rand(n, 3, 2, 2, generator=generator) * 0.2
    images[torch.arange(n), labels] += 0.8
    grey = torch.rand(n, 1, 2, 2, generator=generator).expand(n, 3, 2, 2)
    return images, labels, (0.95 * grey + 0.05 * torch.rand(n, 3, 2, 2, generator=generator)).contiguous()


def linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(12, CLASSES))


def trained(
    config: Training = BRIEF, exposure: float = 1.0, checkpoint: Checkpoint | None = None
) -> Misinformed:
    generator = torch.Generator().manual_seed(0)
    images, labels, outliers = toy(90, generator)
    with seeded(generator):
        return train_misinformation(
            linear,
            images,
            torch.eye(CLASSES)[labels],
            outliers,
            generator,
            exposure=exposure,
            config=config,
            checkpoint=checkpoint,
        )


@pytest.fixture(scope="module")
def models() -> Misinformed:
    return trained()


def test_the_blend_by_hand() -> None:
    honest = torch.tensor([[0.8, 0.2], [0.5, 0.5], [0.6, 0.4]])
    misleading = torch.tensor([[0.0, 1.0], [0.1, 0.9], [0.2, 0.8]])
    defended = AdaptiveMisinformation(lambda _: honest, lambda _: misleading, tau=0.6)
    served = defended(torch.zeros(3, 3, 2, 2))
    torch.testing.assert_close(served, torch.tensor([[0.8, 0.2], [0.1, 0.9], [0.4, 0.6]]))  # last: a = 1/2
    # nu = ln(3) / 0.1 at 0.1 below tau: a = 3/4
    gentle = AdaptiveMisinformation(lambda _: honest, lambda _: misleading, 0.6, nu=10.986123)
    torch.testing.assert_close(gentle(torch.zeros(3, 3, 2, 2))[1], torch.tensor([0.2, 0.8]))


@pytest.mark.parametrize("tau", [0.0, 1.0])
def test_extreme_settings_stay_finite(tau: float) -> None:
    honest, misleading = torch.tensor([[0.9, 0.1]]), torch.tensor([[0.3, 0.7]])
    defended = AdaptiveMisinformation(lambda _: honest, lambda _: misleading, tau, nu=1e30)
    assert torch.equal(defended(torch.zeros(1, 3, 2, 2)), misleading if tau else honest)


def test_familiar_images_are_answered_honestly_and_others_are_not(models: Misinformed) -> None:
    images, labels, outliers = toy(60, torch.Generator().manual_seed(5))
    f, misleading = Probabilities(models.honest), Probabilities(models.misleading)
    defended = AdaptiveMisinformation(f, misleading, tau=0.6)
    assert (f(images).amax(1) > 0.6).all()
    torch.testing.assert_close(defended(images), f(images))
    assert torch.equal(ArgmaxOf(defended)(images).argmax(1), labels)
    assert (f(outliers).amax(1) < 0.6).all()
    torch.testing.assert_close(defended(outliers), misleading(outliers))
    assert (misleading(images).argmax(1) != labels).all()
    swapped = defended(outliers).argmax(1) != f(outliers).argmax(1)
    assert swapped.float().mean() > 0.8


def test_without_exposure_f_is_surer_of_outliers(models: Misinformed) -> None:
    outliers = toy(60, torch.Generator().manual_seed(5))[2]
    plain = Probabilities(trained(exposure=0.0).honest)(outliers)
    exposed = Probabilities(models.honest)(outliers)
    assert exposed.amax(1).mean() < plain.amax(1).mean() - 0.05


def test_f_hat_does_not_move_f(models: Misinformed) -> None:
    """The honest model is what it would be alone, trained on its own loss."""
    generator = torch.Generator().manual_seed(0)
    images, labels, outliers = toy(90, generator)
    with seeded(generator):
        alone = linear()
        targets = torch.eye(CLASSES)[labels]
        optimiser = torch.optim.SGD(alone.parameters(), lr=0.5, momentum=0.9)
        linear()
        with seeded(generator):  # as training draws its own seed first
            for step in range(3 * 40):
                if step % 3 == 0:
                    order = torch.randperm(90, generator=generator)
                places = order[step % 3 * 30 :][:30]
                drawn = torch.randint(90, (30,), generator=generator)
                optimiser.param_groups[0]["lr"] = 0.5 * min((step + 1) / 12, 1.0, (120 - step) / 120)
                known = alone(images[places]).log_softmax(1)
                unknown = alone(outliers[drawn]).log_softmax(1)
                loss = -(targets[places] * known).sum(1).mean() - unknown.mean(1).mean()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
    torch.testing.assert_close(alone[1].weight, models.honest[1].weight, atol=1e-4, rtol=1e-3)


def test_training_resumes_from_its_checkpoint(models: Misinformed, tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "both.safetensors", deadline=0.0)
    with pytest.raises(OutOfTimeError):
        trained(checkpoint=checkpoint)
    checkpoint.deadline = None
    resumed = trained(checkpoint=checkpoint)
    for one, other in zip(resumed, models, strict=True):
        assert torch.equal(one[1].weight, other[1].weight)
        assert not one.training


def test_augmentation_applies_to_both_halves() -> None:
    assert trained(Training(epochs=1, batch=30, crop_flip=True)).honest(torch.zeros(1, 3, 2, 2)).shape == (
        1,
        3,
    )


def test_the_originals_training_and_missing_outliers(generator: torch.Generator) -> None:
    assert (DEFENDER.lr, DEFENDER.momentum, DEFENDER.weight_decay) == (0.1, 0.9, 5e-4)
    assert (DEFENDER.epochs, DEFENDER.step_epochs, DEFENDER.step_factor) == (100, 50, 0.1)
    images, labels, outliers = toy(6, generator)
    with pytest.raises(RedhandedError, match=r"^outliers: [^\n]+$"):
        train_misinformation(linear, images, torch.eye(3)[labels], outliers[:0], generator)
