"""Each transform against a literal loop, and the shares in which they come."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from redhanded.lab.encoders.transforms import POSITIVES, PRETRAINING, positive, pretraining_view
from redhanded.lab.models import CIFAR10_STD
from redhanded.lab.types import Images

View = Callable[[Images, torch.Generator], Images]
STD = torch.tensor(CIFAR10_STD).view(3, 1, 1)
IMAGES = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 0.9 + 0.05
VIEWS = pytest.mark.parametrize("view", [positive, pretraining_view])
DRAWS = pytest.mark.parametrize("draw", [-1.0, 0.0, 0.6, 1.0])


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, generator: torch.Generator) -> Callable[..., Tensor]:
    """Apply one named transform with a chosen draw in [-1, 1] to all images."""

    def apply(view: View, kind: int, draw: float, images: Tensor = IMAGES) -> Tensor:
        with monkeypatch.context() as patch:
            patch.setattr(torch, "randint", lambda _, shape, **__: torch.full(shape, kind))
            patch.setattr(torch, "rand", lambda *shape, **_: torch.full(shape, (draw + 1) / 2))
            return view(images, generator)

    return apply


def sampled(
    images: Tensor,
    *,
    angle: float = 0.0,
    scale: float = 1.0,
    tall: float | None = None,
    across: float = 0.0,
    down: float = 0.0,
) -> Tensor:
    """Read every output pixel at the turned, scaled and moved place, bilinearly; black outside.

    Places run from -1 to 1 over the image; `across` and `down` are in shares of its side. `tall` scales the
    vertical if it differs.
    """
    tall = scale if tall is None else tall
    pixels = np.pad(images.double().numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)))
    side = images.shape[-1]
    out = np.zeros(images.shape)
    for i in range(side):
        for j in range(side):
            y, x = (2 * i + 1) / side - 1, (2 * j + 1) / side - 1
            x, y = scale * x, tall * y
            u = math.cos(angle) * x - math.sin(angle) * y + 2 * across
            v = math.sin(angle) * x + math.cos(angle) * y + 2 * down
            # in pixels of the padded image, not beyond its black border
            column = min(max(((u + 1) * side - 1) / 2 + 1, 0), side + 1 - 1e-9)
            row = min(max(((v + 1) * side - 1) / 2 + 1, 0), side + 1 - 1e-9)
            top, left = int(row), int(column)
            b, a = row - top, column - left
            above = (1 - a) * pixels[:, :, top, left] + a * pixels[:, :, top, left + 1]
            below = (1 - a) * pixels[:, :, top + 1, left] + a * pixels[:, :, top + 1, left + 1]
            out[:, :, i, j] = (1 - b) * above + b * below
    return torch.from_numpy(out).float()


def contrasted(images: Tensor, factor: float) -> Tensor:
    out = []
    for image in images:
        red, green, blue = image
        grey = (0.299 * red + 0.587 * green + 0.114 * blue).mean()
        out.append(((image - grey) * factor + grey).clamp(0, 1))
    return torch.stack(out)


def moderate(kind: str, draw: float) -> Tensor:
    """The paper's slight change, with the ranges of the released encoder's training."""
    side = math.sqrt(0.98 + 0.02 * draw)
    match kind:
        case "rotate":
            return sampled(IMAGES, angle=math.radians(15 * draw))
        case "translate":
            return sampled(IMAGES, across=0.05 * draw, down=0.05 * draw)
        case "scale":
            return sampled(IMAGES, scale=1 / (1 + 0.17 * draw))
        case "crop":
            return sampled(IMAGES, scale=side, across=draw * (1 - side) / 2, down=draw * (1 - side) / 2)
        case "brightness":
            return (IMAGES * (1 + 0.09 * draw)).clamp(0, 1)
        case "contrast":
            return contrasted(IMAGES, 1 + 0.55 * draw)
        case "uniform":
            return IMAGES + 0.064 * draw * STD
        case _:
            raise AssertionError(kind)


def strong(kind: str, draw: float) -> Tensor:
    """The augmentation of the pre-training."""
    side, aspect = math.sqrt(0.54 + 0.46 * draw), (4 / 3) ** (draw / 2)
    wide, tall = min(1, side * aspect), min(1, side / aspect)
    match kind:
        case "flip":
            return IMAGES.flip(3) if draw < 0 else IMAGES
        case "zoom":
            return sampled(
                IMAGES, scale=wide, tall=tall, across=draw * (1 - wide) / 2, down=draw * (1 - tall) / 2
            )
        case "rotate":
            return sampled(IMAGES, angle=math.radians(60 * draw))
        case "translate":
            return sampled(IMAGES, across=0.45 * draw, down=0.45 * draw)
        case "brightness":
            return (IMAGES * (1 + 0.5 * draw)).clamp(0, 1)
        case "contrast":
            return contrasted(IMAGES, 1 + 0.55 * draw)
        case _:
            raise AssertionError(kind)


@DRAWS
@pytest.mark.parametrize("kind", [kind for kind in POSITIVES if kind != "gaussian"])
def test_positive_against_a_loop(kind: str, draw: float, drawn: Callable[..., Tensor]) -> None:
    ours = drawn(positive, POSITIVES.index(kind), draw)
    torch.testing.assert_close(ours, moderate(kind, draw), atol=2e-5, rtol=0)
    assert torch.allclose(ours, IMAGES, atol=1e-5) == (
        (draw == 0 and kind != "crop") or (draw == 1 and kind == "crop")
    )


@DRAWS
@pytest.mark.parametrize("kind", PRETRAINING)
def test_pretraining_view_against_a_loop(kind: str, draw: float, drawn: Callable[..., Tensor]) -> None:
    ours = drawn(pretraining_view, PRETRAINING.index(kind), draw)
    torch.testing.assert_close(ours, strong(kind, draw), atol=2e-5, rtol=0)


@DRAWS
@pytest.mark.parametrize(("view", "kind"), [(positive, 3), (pretraining_view, 1)])
def test_a_crop_enlarges_and_never_looks_outside(
    view: View, kind: int, draw: float, drawn: Callable[..., Tensor]
) -> None:
    grey = torch.full((1, 3, 8, 8), 0.5)
    # half a source pixel at the rim blends with the black outside: two pixels at the strongest zoom
    inside = drawn(view, kind, draw, grey)[..., 2:-2, 2:-2]
    torch.testing.assert_close(inside, torch.full_like(inside, 0.5))
    ramp = torch.linspace(0.1, 0.9, 8).expand(1, 3, 8, 8)
    steps = drawn(view, kind, draw, ramp)[..., 2:-2, 2:-2].diff(dim=3)
    assert (steps <= 0.8 / 7 + 1e-5).all()  # a window inside the image: never a steeper ramp
    assert (steps > 0).all()


def test_noise_is_in_units_of_the_deviation(drawn: Callable[..., Tensor]) -> None:
    grey = torch.full((300, 3, 8, 8), 0.5)
    gaussian = (drawn(positive, 6, 0.0, grey) - grey) / STD
    assert float(gaussian.mean()) == pytest.approx(0, abs=0.002)
    for channel in range(3):
        assert float(gaussian[:, channel].std()) == pytest.approx(0.095, rel=0.03)
    assert float(gaussian.abs().max()) > 0.3  # it has tails


def test_each_positive_comes_an_eighth_of_the_time(generator: torch.Generator) -> None:
    """What was done to a grey image shows: a shade, a black rim, noise, or nothing (contrast)."""
    count = 1600
    grey = torch.full((count, 3, 8, 8), 0.5)
    change = positive(grey, generator) - grey
    flat = change.flatten(1)
    constant = flat.amax(1) - flat.amin(1) < 1e-6
    offsets = flat[constant, 0]
    brightness = offsets.abs() > 1e-4
    assert offsets.abs().max() <= 0.5 * 0.09 + 1e-6
    assert offsets.abs().max() > 0.5 * 0.085
    assert (offsets > 1e-4).sum() > 0.3 * brightness.sum()
    assert (offsets < -1e-4).sum() > 0.3 * brightness.sum()
    # noise moves the middle of the image up and down, geometry does not move it
    middle = change[:, :, 3:5, 3:5].flatten(1)
    noisy = (middle.amax(1) - middle.amin(1) > 1e-4) & (middle > 1e-5).any(1)
    bounded = noisy & ((change / STD).flatten(1).abs().amax(1) <= 0.064 + 1e-4)
    eighth = count / 8
    for rows, shares in ((brightness, 1), (bounded, 1), (noisy, 2)):
        assert abs(int(rows.sum()) - shares * eighth) < 5 * math.sqrt(shares * eighth)
    assert not (noisy & constant).any()


@VIEWS
def test_views_are_deterministic_and_keep_the_shape(view: View) -> None:
    images = torch.rand(64, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    untouched = images.clone()
    before = torch.get_rng_state()
    one, again, other = (view(images, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(images, untouched)
    assert torch.equal(torch.get_rng_state(), before)
    assert one.shape == images.shape
    assert one.dtype == torch.float32
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    unchanged = ((one - images).flatten(1).abs().amax(1) == 0).float().mean()
    assert unchanged <= (0.2 if view is pretraining_view else 0)  # every other mirroring: a twelfth
    assert len(view(images[:0], torch.Generator().manual_seed(0))) == 0
