"""Crafting against literal references, and PGD against Foolbox."""

import warnings
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from redhanded.lab.attacks.perturb import Aim, LinfPgd, LogitAscent, SignedSteps
from redhanded.lab.models import CIFAR10_MEAN, CIFAR10_STD, Normalise, seeded
from redhanded.lab.types import Fidelity

CLASSES = 5
MEAN = torch.tensor(CIFAR10_MEAN, dtype=torch.float64).view(3, 1, 1)
STD = torch.tensor(CIFAR10_STD, dtype=torch.float64).view(3, 1, 1)
EPSILON = 8 / 256


@pytest.fixture
def network(generator: torch.Generator) -> nn.Sequential:
    """A smooth classifier of 8x8 images in float64, so that no gradient is zero and no sign is a toss-up."""
    with seeded(generator):
        layers = nn.Conv2d(3, 6, 3), nn.Tanh(), nn.Flatten(), nn.Linear(6 * 36, CLASSES)
        return nn.Sequential(Normalise(), *layers).double().eval().requires_grad_(False)


@pytest.fixture
def sources(generator: torch.Generator) -> Tensor:
    """Images with black, white and nearly black and white pixels."""
    pixels = torch.rand(7, 3, 8, 8, generator=generator, dtype=torch.float64)
    return (pixels * 1.2 - 0.1).clamp(0, 1)


@pytest.fixture
def targets() -> Tensor:
    return torch.arange(7) % CLASSES


def aim(sources: Tensor, targets: Tensor, labels: Tensor | None = None) -> Aim:
    """Nothing but the sources is known; they are labelled 0 unless told otherwise."""
    labels = torch.zeros_like(targets) if labels is None else labels
    return Aim(sources, labels, targets, sources, labels)


@pytest.fixture(scope="module")
def foolbox() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it imports what SciPy has moved
        import foolbox

    return foolbox


def with_foolbox(
    foolbox: ModuleType, network: nn.Module, sources: Tensor, targets: Tensor, *, random_start: bool
) -> Tensor:
    attack = foolbox.attacks.LinfPGD(random_start=random_start)
    assert (attack.rel_stepsize, attack.steps) == (0.01 / 0.3, 40)
    model = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
    criterion = foolbox.criteria.TargetedMisclassification(targets)
    raw, _, _ = attack(model, sources, criterion, epsilons=EPSILON)
    assert raw.dtype == torch.float64
    return raw


def test_pgd_is_foolbox_from_the_sources(
    foolbox: ModuleType,
    network: nn.Sequential,
    sources: Tensor,
    targets: Tensor,
    generator: torch.Generator,
) -> None:
    before = generator.get_state()
    ours = LinfPgd(random_start=False)(network, aim(sources, targets), generator).images
    assert torch.equal(generator.get_state(), before)
    theirs = with_foolbox(foolbox, network, sources, targets, random_start=False)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)
    assert (ours - sources).abs().max() > 0.9 * EPSILON


def test_pgd_is_foolbox_from_the_same_random_start(
    foolbox: ModuleType,
    network: nn.Sequential,
    sources: Tensor,
    targets: Tensor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Foolbox draws the noise, adds it to the image and clips; the noise is made ours
    def same_start(_: object, x0: object, epsilon: float) -> object:
        noise = torch.rand(sources.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        return x0 + type(x0)((2 * noise - 1) * epsilon)  # type: ignore[operator, call-arg]

    monkeypatch.setattr(foolbox.attacks.LinfPGD, "get_random_start", same_start)
    ours = LinfPgd()(network, aim(sources, targets), torch.Generator().manual_seed(3)).images
    theirs = with_foolbox(foolbox, network, sources, targets, random_start=True)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)
    unmoved = LinfPgd(random_start=False)(network, aim(sources, targets), torch.Generator()).images
    assert not torch.allclose(ours, unmoved, atol=1e-6)


def test_pgd_reaches_its_targets(
    network: nn.Sequential, sources: Tensor, targets: Tensor, generator: torch.Generator
) -> None:
    before = network(sources).log_softmax(1).gather(1, targets[:, None])
    crafted = LinfPgd()(network, aim(sources, targets), generator).images
    assert (network(crafted).log_softmax(1).gather(1, targets[:, None]) > before).all()
    assert (network(crafted).argmax(1) == targets).float().mean() > 0.5
    assert (crafted - sources).abs().max() <= EPSILON + 1e-12
    assert crafted.min() >= 0
    assert crafted.max() <= 1
    assert not crafted.requires_grad


def test_pgd_start_is_uniform_in_the_ball_and_an_image(sources: Tensor) -> None:
    grey = torch.full((40, 3, 8, 8), 0.5)
    noise = (LinfPgd().start(grey, torch.Generator().manual_seed(1)) - 0.5) / EPSILON
    assert noise.abs().max() <= 1 + 1e-5
    assert abs(float(noise.mean())) < 0.03
    assert abs(float(noise.var()) - 1 / 3) < 0.02  # of a uniform draw from [-1, 1]
    start = LinfPgd().start(sources, torch.Generator().manual_seed(1))
    assert start.min() == 0
    assert start.max() == 1


def jb_top3_reference(network: nn.Sequential, source: Tensor, target: int, fidelity: Fidelity) -> Tensor:
    """One image, standardised as in the released `pgd_linf_targ`."""
    x = (source - MEAN) / STD
    delta = torch.zeros_like(x)
    for _ in range(8):
        point = (x + delta).requires_grad_()
        network[1:](point[None])[0, target].backward()
        delta = torch.clip(delta + 0.01 * point.grad.sign(), -0.1, 0.1)
        if fidelity == "corrected":
            delta = torch.clip(x + delta, (0 - MEAN) / STD, (1 - MEAN) / STD) - x
    return (x + delta) * STD + MEAN  # what is sent is cut to [0, 1] by the exchange


@pytest.mark.parametrize("fidelity", ["corrected", "released"])
def test_jb_top3_is_the_reference_image_by_image(
    network: nn.Sequential,
    sources: Tensor,
    targets: Tensor,
    fidelity: Fidelity,
    generator: torch.Generator,
) -> None:
    before = generator.get_state()
    ours = LogitAscent(fidelity=fidelity)(network, aim(sources, targets), generator).images
    assert torch.equal(generator.get_state(), before)
    reference = torch.stack(
        [
            jb_top3_reference(network, source, int(target), fidelity)
            for source, target in zip(sources, targets, strict=True)
        ]
    )
    torch.testing.assert_close(ours, reference, rtol=0, atol=1e-9)
    assert not ours.requires_grad


def test_jb_top3_fidelities_differ_where_pixels_touch_the_bounds(
    network: nn.Sequential, sources: Tensor, targets: Tensor, generator: torch.Generator
) -> None:
    one, other = (
        LogitAscent(fidelity=fidelity)(network, aim(sources, targets), generator).images
        for fidelity in ("corrected", "released")
    )
    assert not torch.allclose(one, other, atol=1e-6)
    inner = 0.3 + 0.4 * sources  # where no iterate touches them
    one, other = (
        LogitAscent(fidelity=fidelity)(network, aim(inner, targets), generator).images
        for fidelity in ("corrected", "released")
    )
    torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_jb_top3_moves_in_units_of_the_deviation(
    network: nn.Sequential, sources: Tensor, targets: Tensor, generator: torch.Generator
) -> None:
    inner = 0.3 + 0.4 * sources
    change = (LogitAscent()(network, aim(inner, targets), generator).images - inner) / STD
    assert change.abs().max() <= 0.08 + 1e-9  # eight steps of 0.01: epsilon never binds
    assert change.abs().max() > 0.079
    bound = (LogitAscent(step=0.03)(network, aim(inner, targets), generator).images - inner) / STD
    assert abs(float(bound.abs().max()) - 0.1) < 1e-9  # here it does
    gained = network(inner + change * STD) - network(inner)
    assert (gained.gather(1, targets[:, None]) > 0).all()


AWAY = torch.full((7,), -1)


@pytest.mark.parametrize(("steps", "epsilon"), [(1, 0.05), (11, 0.05), (1, 0.5)])
@pytest.mark.parametrize("towards", [False, True])
def test_fgsm_family_against_a_loop(
    network: nn.Sequential,
    sources: Tensor,
    targets: Tensor,
    steps: int,
    epsilon: float,
    towards: bool,
    generator: torch.Generator,
) -> None:
    labels = (targets + 2) % CLASSES
    aimed = aim(sources, targets if towards else AWAY, labels)
    before = generator.get_state()
    ours = SignedSteps(epsilon, steps)(network, aimed, generator)
    assert torch.equal(generator.get_state(), before)
    for row, image in enumerate(ours.images):
        x = sources[row].clone()
        for _ in range(steps):
            point = x.clone().requires_grad_()
            scores = network(point[None]).log_softmax(1)[0]
            (-scores[targets[row] if towards else labels[row]]).backward()
            assert point.grad is not None
            sign = point.grad.sign()
            x = torch.clip(x - epsilon / steps * sign if towards else x + epsilon / steps * sign, 0, 1)
        torch.testing.assert_close(image, x, rtol=0, atol=1e-9)
    assert ours.keep.all()
    assert not ours.failed.any()


def test_fgsm_in_units_of_the_deviation(
    network: nn.Sequential, sources: Tensor, generator: torch.Generator
) -> None:
    inner = 0.3 + 0.4 * sources
    crafted = SignedSteps(0.1, unit=CIFAR10_STD)(network, aim(inner, AWAY), generator).images
    torch.testing.assert_close(((crafted - inner) / STD).abs(), torch.full_like(inner, 0.1))


def test_ascent_without_a_target_climbs_its_own_class_and_turns_around(
    network: nn.Sequential, sources: Tensor, targets: Tensor, generator: torch.Generator
) -> None:
    step = LogitAscent(steps=1, step=0.1, epsilon=0.1, unit=(1.0, 1.0, 1.0))
    up, down = (
        turned(network, aim(sources, AWAY, targets), generator).images for turned in (step, step.reversed())
    )
    own, before = targets[:, None], network(sources).gather(1, targets[:, None])
    assert (network(up).gather(1, own) > before).all()
    assert (network(down).gather(1, own) < before).all()
    assert step.reversed().reversed() == step
    inner = 0.3 + 0.4 * sources  # no pixel meets a bound
    up, down = (
        turned(network, aim(inner, AWAY, targets), generator).images for turned in (step, step.reversed())
    )
    torch.testing.assert_close(up - inner, inner - down, rtol=0, atol=1e-12)
