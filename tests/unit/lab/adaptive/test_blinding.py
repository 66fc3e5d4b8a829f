"""Each transform's law, read off images made for it, and its geometry against scipy's."""

import math
from typing import get_args

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn

from redhanded.errors import RedhandedError
from redhanded.lab.adaptive.blinding import PARAMETERS, TRANSFORMS, Law, Transform, blind, transform
from redhanded.lab.attacks.exchange import Transfer
from redhanded.lab.models import CIFAR10_MEAN, CIFAR10_STD
from redhanded.lab.types import Kind

LAWS: tuple[Law, ...] = get_args(Law)
MEAN, STD = (torch.tensor(values).view(3, 1, 1) for values in (CIFAR10_MEAN, CIFAR10_STD))
ALL = [pytest.param(kind, law, id=f"{kind}-{law}") for law in LAWS for kind in TRANSFORMS]
SIDE = 32
NOISES = {"uniform", "gaussian"}
ONCE = {("brightness", "chen"), ("contrast", "chen")}
UNCLIPPED = {("brightness", "chen"), ("contrast", "chen"), ("uniform", "chen")}
FLATTENED = {"brightness", "contrast", "uniform", "gaussian"}


def smooth(count: int, seed: int = 0) -> Tensor:
    """Waves: images on which ways to interpolate agree."""
    random = torch.Generator().manual_seed(seed)
    phase = torch.rand(count, 3, 1, 1, generator=random) * 2 * math.pi
    pace = torch.rand(2, count, 3, 1, 1, generator=random) * 0.25
    down, across = torch.arange(SIDE).view(SIDE, 1), torch.arange(SIDE).view(1, SIDE)
    return 0.5 + 0.35 * (pace[0] * down + pace[1] * across + phase).sin()


def grey(count: int, value: float = 0.55, side: int = 8) -> Tensor:
    """In [0.49, 0.69]: inside what the released clamp of standardised images leaves in every channel."""
    return torch.full((count, 3, side, side), value)


def standard(images: Tensor) -> Tensor:
    return (images - MEAN) / STD


def uniform_on(values: Tensor, low: float, high: float) -> None:
    """Check range, mean and spread of some hundred independent draws."""
    width = high - low
    assert float(values.min()) >= low - 1e-4
    assert float(values.max()) <= high + 1e-4
    assert float(values.min()) < low + 0.05 * width
    assert float(values.max()) > high - 0.05 * width
    error = width / math.sqrt(12 * len(values))
    assert abs(float(values.mean()) - (low + high) / 2) < 5 * error
    assert float(values.std()) == pytest.approx(width / math.sqrt(12), rel=0.15)


@pytest.mark.parametrize(("kind", "law"), ALL)
def test_shape_range_and_draws(kind: str, law: Law) -> None:
    images = torch.rand(12, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    images[1:] = images[0]
    untouched, global_state = images.clone(), torch.get_rng_state()
    change = transform(kind, law)
    one, again, other = (change(images, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(images, untouched)
    assert torch.equal(torch.get_rng_state(), global_state)
    assert one.shape == images.shape
    assert one.dtype == torch.float32
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    if (kind, law) in UNCLIPPED - {("contrast", "chen")}:  # less contrast never leaves the range
        assert (one.max() > 1) or (one.min() < 0)
    else:
        assert one.min() >= -1e-6
        assert one.max() <= 1 + 1e-6
    if law == "released" and kind in FLATTENED:
        assert standard(one).min() >= -1e-5
        assert standard(one).max() <= 1 + 1e-5
    alike = [torch.equal(one[0], row) for row in one[1:]]
    assert all(alike) if (kind, law) in ONCE else not any(alike)
    assert change(images[:0], torch.Generator()).shape == images[:0].shape


@pytest.mark.parametrize(("kind", "law"), ALL)
def test_no_degree_no_change(kind: str, law: Law, generator: torch.Generator) -> None:
    images = smooth(4)
    nothing = 1.0 if kind == "contrast" else 0.0
    wanted = images
    if law == "released" and kind in FLATTENED:
        wanted = standard(images).clamp(0, 1) * STD + MEAN
        assert not torch.allclose(wanted, images, atol=0.1)
    changed = Transform(kind, law, nothing)(images, generator)
    torch.testing.assert_close(changed, wanted, atol=1e-5, rtol=0)


def test_the_paper_s_settings() -> None:
    """The table of the facts, in the units of `Transform`."""
    assert dict(PARAMETERS["chen"]) == {
        "crop": 0.04,
        "brightness": 0.09,
        "scale": 0.17,
        "rotate": pytest.approx(math.radians(3.24)),
        "contrast": 0.55,
        "uniform": 0.064,
        "gaussian": 0.095,
        "translate": 0.45,
    }
    for law, differing in (("released", {"rotate", "contrast", "translate"}), ("corrected", {"translate"})):
        assert {kind for kind in TRANSFORMS if PARAMETERS[law][kind] != PARAMETERS["chen"][kind]} == differing
    assert math.degrees(transform("rotate", "released").r) == pytest.approx(0.018)
    assert transform("contrast", "released").r == 0.1
    assert transform("translate").r == transform("translate", "released").r == 0.05
    with pytest.raises(RedhandedError, match=r"^r: 1\.5 is no degree of crop; give 0 to 1$"):
        Transform("crop", "chen", 1.5)


@pytest.mark.parametrize("law", LAWS)
def test_brightness_adds(law: Law, generator: torch.Generator) -> None:
    images = grey(400)
    change = transform("brightness", law)
    if law == "chen":
        offsets = torch.cat([change(images[:1], generator) for _ in range(400)]) - images
    else:
        offsets = change(images, generator) - images
    if law == "released":  # in deviations, and clipped at 0 and 1 of them
        offsets = standard(images + offsets)[:, 0] - standard(images)[:, 0]
        uniform_on(offsets[:, 0, 0], -0.09, 0.09)
    else:
        assert (offsets.flatten(1).amax(1) - offsets.flatten(1).amin(1)).max() < 1e-6
        uniform_on(offsets[:, 0, 0, 0], -0.09, 0.09)


@pytest.mark.parametrize("law", LAWS)
def test_contrast_multiplies(law: Law, generator: torch.Generator) -> None:
    images = smooth(400) if law != "released" else grey(400, 0.6)
    change = transform("contrast", law)
    if law == "released":  # about the mean of CIFAR-10, not the image's: a grey image darkens
        factor = (standard(change(images, generator)) / standard(images)).flatten(1)
        least = 0.1
    else:
        about = images.mean((2, 3), keepdim=True)
        drawn = torch.cat([change(images[at : at + 1], generator) for at in range(400)])
        torch.testing.assert_close(drawn.mean((2, 3), keepdim=True), about, atol=1e-5, rtol=0)
        factor = drawn.flatten(2).std(2) / images.flatten(2).std(2)
        least = 0.55
    assert (factor.amax(1) - factor.amin(1)).max() < 1e-3
    uniform_on(factor[:, 0], least, 1)


@pytest.mark.parametrize("law", LAWS)
def test_noise(law: Law, generator: torch.Generator) -> None:
    images = grey(40, 0.58)
    unit = STD if law == "released" else torch.ones(3, 1, 1)
    noise = (transform("uniform", law)(images, generator) - images) / unit
    uniform_on(noise.flatten(), -0.064, 0.064)
    middle = slice(None) if law != "released" else slice(1, 2)  # where four deviations are not clipped
    gaussian = ((transform("gaussian", law)(images, generator) - images) / unit)[:, middle].flatten()
    assert float(gaussian.std()) == pytest.approx(0.095, rel=0.04)
    assert float(gaussian.mean()) == pytest.approx(0, abs=0.006)
    assert float((gaussian.abs() < 0.095).float().mean()) == pytest.approx(0.683, abs=0.03)


def test_chens_scale_multiplies_pixels(generator: torch.Generator) -> None:
    changed = transform("scale", "chen")(grey(400, 0.5), generator)
    assert (changed.flatten(1).amax(1) - changed.flatten(1).amin(1)).max() == 0
    uniform_on(changed[:, 0, 0, 0] / 0.5, 0.83, 1.17)
    assert transform("scale", "chen")(grey(50, 0.99), generator).max() == 1


def resampled(image: Tensor, turn: np.ndarray, middle: tuple[float, float], outside: Tensor) -> Tensor:
    """Scipy: output pixel p is read at turn @ (p - centre) + middle, in (row, column) pixels."""
    centre = np.array([(SIDE - 1) / 2] * 2)
    offset = np.array(middle) - turn @ centre
    planes = [
        ndimage.affine_transform(
            plane.double().numpy(), turn, offset, order=1, mode="grid-constant", cval=float(rim)
        )
        for plane, rim in zip(image, outside, strict=True)
    ]
    return torch.from_numpy(np.stack(planes)).float()


def window(kind: str, law: Law, draw: Tensor) -> tuple[np.ndarray, tuple[float, float]]:
    """The law in scipy's terms: what it turns and magnifies by, and which place comes to the middle."""
    r, centre = PARAMETERS[law][kind], (SIDE - 1) / 2
    first, across, down = draw.tolist()
    match kind:
        case "rotate":
            sine, cosine = math.sin(first * r), math.cos(first * r)
            return np.array([[cosine, sine], [-sine, cosine]]), (centre, centre)
        case "translate":
            pixels = r if law == "chen" else r * SIDE
            return np.eye(2), (centre + down * pixels, centre + across * pixels)
        case "scale":
            return np.eye(2) / (1 + first * r), (centre, centre)
        case "crop" if law == "chen":
            return np.eye(2) * (1 - 2 * (first + 1) / 2 * r), (centre, centre)
        case _:
            side = math.sqrt(1 - (first + 1) / 2 * r)
            room = SIDE * (1 - side) / 2
            return np.eye(2) * side, (centre + down * room, centre + across * room)


@pytest.mark.parametrize(
    ("kind", "law"),
    [
        pytest.param(kind, law, id=f"{kind}-{law}")
        for law in LAWS
        for kind in ("crop", "scale", "rotate", "translate")
        if (kind, law) != ("scale", "chen")
    ],
)
def test_geometry_against_scipy(kind: str, law: Law) -> None:
    images = smooth(6)
    ours = transform(kind, law)(images, torch.Generator().manual_seed(3))
    draws = torch.rand(3, 6, generator=torch.Generator().manual_seed(3)) * 2 - 1
    outside = MEAN.flatten() if law == "released" else torch.zeros(3)
    for image, changed, draw in zip(images, ours, draws.T, strict=True):
        wanted = resampled(image, *window(kind, law, draw), outside)
        torch.testing.assert_close(changed, wanted, atol=1e-4, rtol=0)
    moved = float((ours - images).abs().amax())
    assert moved > (1e-5 if (kind, law) == ("rotate", "released") else 0.02)
    if (kind, law) == ("rotate", "released"):
        assert moved < 2e-3  # 0.018 degrees: less than half a grey level inside


def test_a_rotation_turns_by_its_angle(generator: torch.Generator) -> None:
    """Read the angle from where a bright spot went, for the law of the draws."""
    spot = torch.zeros(300, 3, SIDE, SIDE)
    spot[:, :, 14:18, 26:29] = 1
    turned = transform("rotate")(spot, generator)[:, 0]
    place = torch.arange(SIDE) - (SIDE - 1) / 2
    mass = turned.sum((1, 2))
    down, across = ((turned * axis).sum((1, 2)) / mass for axis in (place.view(-1, 1), place.view(1, -1)))
    uniform_on(torch.atan2(down, across), -math.radians(3.25), math.radians(3.25))


KINDS: tuple[Kind, ...] = get_args(Kind)


@pytest.mark.parametrize(
    ("options", "blinded"),
    [
        ({}, {"augmented", "student", "pool"}),
        ({"everywhere": True}, {"augmented", "student", "pool", "gradient"}),
        ({"seeds": True}, {"augmented", "student", "pool", "seed"}),
    ],
)
def test_blind_touches_the_right_kinds(
    options: dict[str, bool], blinded: set[Kind], generator: torch.Generator
) -> None:
    images = smooth(5)
    adapt = blind(transform("gaussian"), generator, **options)
    for kind in KINDS:
        keep, sent = adapt(images, kind)
        assert keep.tolist() == [True] * 5
        assert torch.equal(sent, images) == (kind not in blinded)


def test_the_thief_keeps_the_image_and_sends_the_blinded(generator: torch.Generator) -> None:
    asked: list[Tensor] = []

    def oracle(images: Tensor) -> Tensor:
        asked.append(images)
        return torch.eye(10)[torch.zeros(len(images), dtype=torch.long)]

    images = torch.rand(4, 3, 8, 8, generator=generator)
    adapt = blind(transform("uniform", "chen"), generator)
    transfer = Transfer(oracle, adapt, 4, nn.Identity, generator)
    unknown = torch.full((4,), -1)
    exchange = transfer.send(images, unknown, unknown, "augmented")
    assert torch.equal(transfer.images, images)
    assert torch.equal(asked[0], exchange.sent)
    assert not torch.equal(exchange.sent, images)
    assert exchange.sent.min() >= 0
    assert exchange.sent.max() <= 1
    assert (exchange.sent - images).abs().max() <= 0.064
