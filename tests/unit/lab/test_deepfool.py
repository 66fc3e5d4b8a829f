"""DeepFool against Foolbox's, and the variant that never stops against a literal loop."""

import warnings
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from redhanded.lab.attacks.deepfool import deepfool
from redhanded.lab.models import Normalise, seeded

CLASSES = 6


@pytest.fixture
def network(generator: torch.Generator) -> nn.Sequential:
    """A smooth classifier of 8x8 images in float64."""
    with seeded(generator):
        layers = nn.Conv2d(3, 6, 3), nn.Tanh(), nn.Flatten(), nn.Linear(6 * 36, CLASSES)
        return nn.Sequential(Normalise(), *layers).double().eval().requires_grad_(False)


@pytest.fixture
def images(generator: torch.Generator) -> Tensor:
    """Images with black and white pixels, so that clipping has something to do."""
    pixels = torch.rand(12, 3, 8, 8, generator=generator, dtype=torch.float64)
    return (pixels * 1.2 - 0.1).clamp(0, 1)


@pytest.fixture(scope="module")
def foolbox() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it imports what SciPy has moved
        import foolbox

    return foolbox


@pytest.mark.parametrize("candidates", [2, 4, 10])
@pytest.mark.parametrize(("steps", "overshoot"), [(50, 0.02), (1, 0.02), (2, 0.02), (4, -0.3)])
def test_is_foolbox(
    foolbox: ModuleType,
    network: nn.Sequential,
    images: Tensor,
    candidates: int,
    steps: int,
    overshoot: float,
) -> None:
    labels = network(images).argmax(1)
    attack = foolbox.attacks.L2DeepFoolAttack(steps=steps, candidates=candidates, overshoot=overshoot)
    model = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
    theirs, _, success = attack(model, images, foolbox.criteria.Misclassification(labels), epsilons=None)
    before = images.clone()
    ours = deepfool(network, images, steps, overshoot, candidates)
    torch.testing.assert_close(ours.images, theirs, rtol=0, atol=1e-9)
    assert torch.equal(network(ours.images).argmax(1) != labels, success)
    assert torch.equal(images, before)
    expected = (theirs - images).square().sum((1, 2, 3))
    torch.testing.assert_close(ours.squared_l2, expected, rtol=0, atol=1e-9)
    assert (ours.squared_l2 > 0).all()


def test_defaults_are_foolboxs_and_it_succeeds(
    foolbox: ModuleType, network: nn.Sequential, images: Tensor
) -> None:
    attack = foolbox.attacks.L2DeepFoolAttack()
    assert (attack.steps, attack.overshoot, attack.candidates) == (50, 0.02, 10)
    crossed = network(deepfool(network, images).images).argmax(1) != network(images).argmax(1)
    assert crossed.all()


def test_images_leave_at_different_steps_and_each_goes_its_own_way(
    network: nn.Sequential, images: Tensor
) -> None:
    labels = network(images).argmax(1)
    crossed = [
        int((network(deepfool(network, images, steps).images).argmax(1) != labels).sum())
        for steps in (1, 2, 3, 10)
    ]
    assert crossed == sorted(set(crossed))
    together = deepfool(network, images, 10).images
    alone = torch.cat([deepfool(network, image[None], 10).images for image in images])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-9)


def literal(network: nn.Module, image: Tensor, steps: int, overshoot: float) -> Tensor:
    """DeepFool for one image, which goes on after it has crossed."""
    own = int(network(image[None]).argmax())
    total, point = torch.zeros_like(image), image
    for _ in range(steps):
        asked = point.clone().requires_grad_()
        jacobian = torch.autograd.functional.jacobian(lambda x: network(x[None])[0], asked)
        scores = network(point[None])[0]
        best, step = float("inf"), torch.zeros_like(image)
        for other in range(CLASSES):
            if other == own:
                continue
            w = jacobian[other] - jacobian[own]
            distance = float((scores[other] - scores[own]).abs() / w.norm())
            if distance < best:
                best, step = distance, (distance + 1e-4) * w / w.norm()
        total = total + step
        point = (image + (1 + overshoot) * total).clamp(0, 1)
    return point


def test_without_stopping_every_image_takes_every_step(network: nn.Sequential, images: Tensor) -> None:
    images = images[:4]
    ours = deepfool(network, images, 20, 0.01, stop_early=False)
    expected = torch.stack([literal(network, image, 20, 0.01) for image in images])
    torch.testing.assert_close(ours.images, expected, rtol=0, atol=1e-6)
    stopped = deepfool(network, images, 20, 0.01)
    assert (ours.squared_l2 > stopped.squared_l2).all()  # further than the boundary


def test_leaves_the_models_gradients_alone(network: nn.Sequential, images: Tensor) -> None:
    network.requires_grad_(True)
    fooled = deepfool(network, images, 2)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not fooled.images.requires_grad
    assert not fooled.squared_l2.requires_grad


def test_no_images(network: nn.Sequential, images: Tensor) -> None:
    for stop_early in (True, False):
        fooled = deepfool(network, images[:0], stop_early=stop_early)
        assert (fooled.images.shape, fooled.squared_l2.shape) == ((0, 3, 8, 8), (0,))
