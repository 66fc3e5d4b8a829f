"""The demo world's images: the same for everybody, and disjoint where parties must not share."""

import hashlib
from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor

from redhanded.lab.data import demo
from redhanded.lab.data.demo import DEMO_SETS, OWNERS, DemoSet, demo_set
from redhanded.lab.data.images import ImageSet

each_kind = pytest.mark.parametrize("kind", DEMO_SETS)


def digest(images: ImageSet) -> str:
    return hashlib.sha256(images.images.tobytes() + images.labels.tobytes()).hexdigest()


@each_kind
def test_equal_arguments_give_equal_images(kind: DemoSet) -> None:
    before = torch.get_rng_state()
    one = demo_set(kind, "victim", 12)
    assert digest(one) == digest(demo_set(kind, "victim", 12))
    assert digest(one) != digest(demo_set(kind, "victim", 12, seed=1))
    assert digest(one) != digest(demo_set(kind, "thief", 12))
    assert torch.equal(torch.get_rng_state(), before)


@each_kind
def test_format(kind: DemoSet) -> None:
    images = demo_set(kind, "test", 7)
    assert images.images.dtype == np.uint8
    assert images.images.shape == (7, 32, 32, 3)
    assert images.images.flags.c_contiguous
    assert images.labels.dtype == np.int64
    assert set(images.labels.tolist()) <= set(range(10))
    assert (images.name, images.split, images.classes) == (kind, "test", tuple("0123456789"))
    assert len(images) == 7


def test_the_kinds_differ() -> None:
    sets = {kind: demo_set(kind, "honest", 30).images.astype(np.float64) for kind in DEMO_SETS}
    for one, other in combinations(sets.values(), 2):
        assert np.abs(one - other).mean() > 10
    # the ground of a grey digit is grey in most pixels; a photograph is colourful
    colour = {kind: np.ptp(images, axis=3).mean() for kind, images in sets.items()}
    assert colour["grey-digits"] < 0.5 * min(colour[kind] for kind in ("digits", "other-digits", "photos"))


def test_the_owners_digits_are_disjoint(monkeypatch: pytest.MonkeyPatch) -> None:
    digits, targets = demo._digits()
    place = {digit.numpy().tobytes(): at for at, digit in enumerate(digits)}
    assert len(place) == len(digits) == 1797
    drawn: list[Tensor] = []

    def watched(kind: DemoSet, digits: Tensor, generator: torch.Generator) -> Tensor:
        drawn.append(digits)
        return torch.zeros(len(digits), 3, 32, 32, dtype=torch.uint8)

    monkeypatch.setattr(demo, "_compose", watched)
    used: dict[str, set[int]] = {}
    for owner in OWNERS:
        drawn.clear()
        images = demo_set("digits", owner, 6_000)
        places = [place[digit.numpy().tobytes()] for digit in torch.cat(drawn)]
        assert images.labels.tolist() == targets[places].tolist()
        assert set(images.labels.tolist()) == set(range(10))
        used[owner] = set(places)
    for one, other in combinations(used.values(), 2):
        assert not one & other
    assert sum(map(len, used.values())) > 0.99 * len(digits)  # and none lies idle


def near(images: ImageSet, limit: float) -> float:
    """Share of images within a root mean square of `limit` (of 255) of another."""
    flat = images.images.reshape(len(images), -1).astype(np.float32)
    squares = (flat**2).sum(1)
    distances = squares[:, None] + squares - 2 * flat @ flat.T
    np.fill_diagonal(distances, np.inf)
    return float((np.sqrt(distances.min(1).clip(0) / flat.shape[1]) < limit).mean())


@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        ("digits", 12),
        ("other-digits", 12),
        ("grey-digits", 12),
        ("photos", 3),  # two photographs, much of them sky: smooth crops resemble each other
    ],
)
def test_few_near_duplicates(kind: DemoSet, limit: float) -> None:
    assert near(demo_set(kind, "honest", 500), limit) < 0.02


def test_images_show_something() -> None:
    for kind in DEMO_SETS:
        spread = demo_set(kind, "victim", 200).images.reshape(200, -1).std(1)
        assert (spread > 3).mean() > 0.95
