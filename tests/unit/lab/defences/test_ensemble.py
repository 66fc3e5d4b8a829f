"""Ensemble of Diverse Models: who answers, and that members learn to disagree."""

from collections import Counter
from hashlib import blake2b

import pytest
import torch
from torch import Tensor, nn

from redhanded.errors import RedhandedError
from redhanded.lab.defences.ensemble import DiverseEnsemble, agreement, train_ensemble
from redhanded.lab.models import seeded
from redhanded.lab.oracles.victim import Probabilities
from redhanded.lab.training import Training

CLASSES = 3
IMAGES = torch.rand(200, 3, 4, 4, generator=torch.Generator().manual_seed(2))


class Member:
    """Answers with its own class, and remembers how many images it was sent."""

    def __init__(self, place: int) -> None:
        self.place, self.asked = place, 0

    def __call__(self, images: Tensor) -> Tensor:
        assert len(images)
        self.asked += len(images)
        return torch.eye(4)[torch.full((len(images),), self.place)]


def ensemble(secret: bytes = b"secret", size: int = 4) -> DiverseEnsemble:
    return DiverseEnsemble(tuple(Member(place) for place in range(size)), secret)


def test_the_picked_member_answers_and_no_other_is_asked() -> None:
    defended = ensemble()
    picks = defended.picks(IMAGES)
    assert torch.equal(defended(IMAGES).argmax(1), picks)
    assert [member.asked for member in defended.members] == torch.bincount(picks, minlength=4).tolist()


def test_the_same_image_meets_the_same_member_in_any_batch() -> None:
    defended = ensemble()
    picks = defended.picks(IMAGES)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(5))
    assert torch.equal(defended.picks(IMAGES[order]), picks[order])
    assert torch.equal(defended(IMAGES[order]), defended(IMAGES)[order])
    assert torch.equal(torch.cat([defended.picks(image[None]) for image in IMAGES]), picks)
    assert torch.equal(ensemble().picks(IMAGES.contiguous(memory_format=torch.channels_last)), picks)
    assert torch.equal(defended(IMAGES[:1]), defended(IMAGES)[:1])  # members without an image are left out


def test_the_hash_is_of_eight_bit_pixels() -> None:
    defended = ensemble()
    eight_bit = (IMAGES * 255).round() / 255
    assert torch.equal(defended.picks(IMAGES), defended.picks(eight_bit))
    pixels = (eight_bit[0] * 255).round().to(torch.uint8).numpy().tobytes()
    digest = blake2b(pixels, digest_size=8, key=b"secret").digest()
    assert defended.picks(IMAGES[:1]).item() == int.from_bytes(digest, "big") % 4
    brighter = (eight_bit + 1 / 255).clamp(max=1)
    assert 0.5 < (defended.picks(brighter) != defended.picks(eight_bit)).float().mean() < 1


def test_secrets_differ_and_every_member_has_its_share() -> None:
    one, other = ensemble(b"one").picks(IMAGES), ensemble(b"other").picks(IMAGES)
    assert 0.6 < (one != other).float().mean() < 0.9  # three quarters for four members
    assert min(Counter(one.tolist()).values()) > 30
    assert "secret" not in repr(ensemble()).replace("secret=", "")


def test_agreement_by_hand() -> None:
    a, b = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert agreement([a, b]).item() == pytest.approx(0.5)
    half = torch.tensor([[0.5, 0.5], [0.5, 0.5]])
    assert agreement([a, b, half]).item() == pytest.approx((0.5 + 2 * 2**-0.5) / 3)


def linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(48, CLASSES))


def trained(diversity: float) -> tuple[tuple[nn.Module, ...], float]:
    """The class is the brightest channel of the upper half; outliers light up the lower half.

    Returns the members, and their agreement on held-out outliers.
    """
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(90) % CLASSES
    images = torch.rand(90, 3, 4, 4, generator=generator) * 0.2
    images[torch.arange(90), labels, :2] += 0.8
    outliers = torch.rand(90, 3, 4, 4, generator=generator) * 0.2
    outliers[:, :, 2:] += 0.8
    config = Training(epochs=30, batch=30, lr=0.1, schedule="linear")
    with seeded(generator):
        members = train_ensemble(
            linear,
            images[:60],
            torch.eye(CLASSES)[labels[:60]],
            outliers[:60],
            generator,
            size=3,
            diversity=diversity,
            config=config,
        )
    oracles = tuple(Probabilities(member) for member in members)
    assert (DiverseEnsemble(oracles, b"s")(images[60:]).argmax(1) == labels[60:]).all()
    return members, agreement([oracle(outliers[60:]) for oracle in oracles]).item()


def test_members_agree_on_familiar_images_and_contradict_each_other_on_others() -> None:
    members, diverse = trained(1.0)
    assert len(members) == 3
    assert not any(member.training for member in members)
    assert diverse < 0.4 < 0.6 < trained(0.0)[1]  # a third: two of the three still agree


def test_settings_are_checked(generator: torch.Generator) -> None:
    with pytest.raises(RedhandedError, match=r"^members: [^\n]+$"):
        DiverseEnsemble((), b"s")
    for secret in (b"", bytes(65)):
        with pytest.raises(RedhandedError, match=r"^secret: [^\n]+$"):
            ensemble(secret)
    labels = torch.eye(CLASSES)[torch.zeros(200, dtype=torch.int64)]
    with pytest.raises(RedhandedError, match=r"^size: 1 [^\n]+$"):
        train_ensemble(linear, IMAGES, labels, IMAGES, generator, size=1)
    with pytest.raises(RedhandedError, match=r"^outliers: [^\n]+$"):
        train_ensemble(linear, IMAGES, labels, IMAGES[:0], generator)
