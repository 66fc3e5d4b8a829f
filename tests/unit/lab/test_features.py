"""Feature-space perturbations against literal losses, image by image."""

import pytest
import torch
from scipy.optimize import fmin_l_bfgs_b
from torch import Tensor, nn

from redhanded.errors import RedhandedError
from redhanded.lab.attacks.features import (
    FastFeatureAdversary,
    FeatureAdversary,
    FeatureFool,
    natural_guides,
    penultimate,
)
from redhanded.lab.attacks.perturb import Aim, LinfPgd, Perturbation
from redhanded.lab.models import CIFAR10_STD, Architecture, ConvNet, Normalise, SimNet, build, seeded
from redhanded.lab.types import Fidelity

CLASSES = 4
ROWS = 6
ALL = (
    FeatureFool(),
    FeatureFool(optimiser="sign", sign_steps=10),
    FeatureFool(fidelity="released"),
    FeatureAdversary(),
    FastFeatureAdversary(),
)


@pytest.fixture
def network(generator: torch.Generator) -> nn.Sequential:
    with seeded(generator):
        layers = nn.Conv2d(3, 6, 3), nn.Tanh(), nn.Flatten(), nn.Linear(6 * 36, 12), nn.Tanh()
        head = nn.Linear(12, CLASSES)
        return nn.Sequential(Normalise(), *layers, head).double().eval().requires_grad_(False)


@pytest.fixture
def aimed(generator: torch.Generator) -> Aim:
    """The transfer set has twenty images of three classes; nothing in it was called class 3."""
    known = (torch.rand(20, 3, 8, 8, generator=generator, dtype=torch.float64) * 1.2 - 0.1).clamp(0, 1)
    labels = torch.arange(20) % 3
    targets = torch.tensor([1, 2, 0, 3, 2, 0])
    return Aim(known[:ROWS], labels[:ROWS], targets, known, labels)


def run(attack: Perturbation, network: nn.Module, aimed: Aim, seed: int = 1) -> Tensor:
    crafted = attack(network, aimed, torch.Generator().manual_seed(seed))
    assert crafted.keep.all()
    assert not crafted.failed.any()
    return crafted.images


def guides_of(network: nn.Module, aimed: Aim, seed: int = 1) -> Tensor:
    return natural_guides(network, aimed, LinfPgd(), torch.Generator().manual_seed(seed))


def literal_margin(network: nn.Sequential, aimed: Aim, label: int | None) -> float:
    """0.5 less the mean over ordered pairs of known images (of a class)."""
    known = [x for x, y in zip(aimed.known, aimed.known_labels, strict=True) if label in (None, int(y))]
    features = [network[:-1](x[None])[0] for x in known]
    n = len(features)
    total = sum(float((a - b).norm()) for a in features for b in features)
    return 0.5 - total / (n * n - n)


def literal_triplet(network: nn.Sequential, x: Tensor, source: Tensor, guide: Tensor, M: float) -> Tensor:
    phi = network[:-1]
    to_guide, to_source = (
        ((phi(x[None]) - phi(end[None])).square().sum() + 1e-8).sqrt() for end in (guide, source)
    )
    return torch.relu(to_guide - to_source + M)


def test_penultimate_is_the_input_of_the_last_linear_layer(network: nn.Sequential, aimed: Aim) -> None:
    phi = penultimate(network)
    torch.testing.assert_close(phi(aimed.sources), network[:-1](aimed.sources))
    point = aimed.sources.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(phi(point).sum(), point)
    assert (gradient != 0).any()
    assert not network[-1]._forward_pre_hooks  # nothing is left behind


@pytest.mark.parametrize(("architecture", "width"), [(ConvNet(((4,), (6,))), 6), (SimNet(), 256)])
def test_penultimate_of_the_labs_models(
    architecture: Architecture, width: int, generator: torch.Generator
) -> None:
    model = build(architecture, CLASSES, generator).eval()
    images = torch.rand(2, 3, 32, 32, generator=generator)
    features = penultimate(model)(images)
    assert features.shape == (2, width)
    head = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    torch.testing.assert_close(head(features), model(images))


def test_penultimate_needs_a_linear_layer_and_survives_an_error(network: nn.Sequential) -> None:
    with pytest.raises(RedhandedError, match=r"^surrogate: [^\n]+; [^\n]+$"):
        penultimate(nn.Sequential(nn.Conv2d(3, 4, 3)))
    phi = penultimate(network)
    with pytest.raises(RuntimeError):
        phi(torch.rand(1, 3, 9, 9, dtype=torch.float64))  # fails in the first linear layer
    assert not network[-1]._forward_pre_hooks


def test_guides_are_images_that_the_oracle_gave_the_target(network: nn.Sequential, aimed: Aim) -> None:
    seen: dict[int, set[int]] = {}
    for seed in range(60):
        guides = guides_of(network, aimed, seed)
        for row, target in enumerate(aimed.targets.tolist()):
            if target < 3:
                (same,) = (aimed.known == guides[row]).all(dim=(1, 2, 3)).nonzero()
                assert aimed.known_labels[same] == target
                seen.setdefault(row, set()).add(int(same))
            else:  # none such: an adversarial example of the source
                assert 0 < (guides[row] - aimed.sources[row]).abs().max() <= 8 / 256 + 1e-9
                logits = network(torch.stack([aimed.sources[row], guides[row]])).log_softmax(1)
                assert logits[1, target] > logits[0, target]
    for row in (0, 1, 2, 4, 5):  # all are drawn, each row for itself
        assert len(seen[row]) == (aimed.known_labels == aimed.targets[row]).sum()
    assert any(not torch.equal(g[1], g[4]) for g in (guides_of(network, aimed, seed) for seed in range(3)))


@pytest.mark.parametrize("fidelity", ["corrected", "released"])
@pytest.mark.parametrize("weight", [1.0, 30.0])
def test_feature_fool_is_the_literal_minimiser(
    network: nn.Sequential, aimed: Aim, fidelity: Fidelity, weight: float
) -> None:
    margin = 3.0  # far enough for the triplet to pull, whichever the guide
    ours = run(FeatureFool(weight, margin, fidelity=fidelity), network, aimed)
    pgd = LinfPgd()(network, aimed, torch.Generator().manual_seed(1)).images
    guides = pgd if fidelity == "released" else guides_of(network, aimed)
    for row in range(ROWS):
        source, guide = aimed.sources[row], guides[row]
        label = None if fidelity == "released" else int(aimed.labels[row])
        M = margin - 0.5 + literal_margin(network, aimed, label)

        def loss(flat: Tensor, source: Tensor = source, guide: Tensor = guide, M: float = M) -> Tensor:
            x = flat.view(3, 8, 8)
            return (x - source).square().sum() + weight * literal_triplet(network, x, source, guide, M)

        def evaluate(x, loss=loss):
            point = torch.from_numpy(x).clone().requires_grad_()
            value = loss(point)
            (gradient,) = torch.autograd.grad(value, point)
            return value.item(), gradient.numpy()

        start = source.flatten().numpy()
        expected, best, _ = fmin_l_bfgs_b(
            evaluate, start, bounds=[(0, 1)] * len(start), maxiter=10, factr=1e7, pgtol=1e-5
        )
        torch.testing.assert_close(ours[row].flatten(), torch.from_numpy(expected), rtol=0, atol=1e-6)
        assert best < float(loss(source.flatten())) - 1e-4


@pytest.mark.parametrize("optimiser", ["lbfgs", "sign"])
def test_feature_fool_goes_from_its_source_to_its_guide(
    network: nn.Sequential, aimed: Aim, optimiser: str
) -> None:
    attack = FeatureFool(margin=3.0, weight=5.0, optimiser=optimiser)  # type: ignore[arg-type]
    ours = run(attack, network, aimed)
    guides, phi = guides_of(network, aimed), network[:-1]
    for images, nearer in ((ours, True), (aimed.sources, False)):
        to_guide = (phi(images) - phi(guides)).norm(dim=1)
        assert (to_guide < (phi(aimed.sources) - phi(guides)).norm(dim=1)).all() == nearer
    assert ((phi(ours) - phi(aimed.sources)).norm(dim=1) > 0).all()
    for row in range(ROWS):
        M = 2.5 + literal_margin(network, aimed, int(aimed.labels[row]))
        before, after = (
            literal_triplet(network, x, aimed.sources[row], guides[row], M)
            for x in (aimed.sources[row], ours[row])
        )
        assert after < before
    assert ours.min() >= 0
    assert ours.max() <= 1
    assert not ours.requires_grad


def test_feature_fool_by_signs_is_the_loop(network: nn.Sequential, aimed: Aim) -> None:
    ours = run(FeatureFool(margin=3.0, optimiser="sign", sign_steps=20), network, aimed)
    guides = guides_of(network, aimed)
    std = torch.tensor(CIFAR10_STD, dtype=torch.float64).view(3, 1, 1)
    for row in range(ROWS):
        source, x = aimed.sources[row], aimed.sources[row].clone()
        M = 2.5 + literal_margin(network, aimed, int(aimed.labels[row]))
        for _ in range(20):
            point = x.clone().requires_grad_()
            loss = literal_triplet(network, point, source, guides[row], M)
            (loss + (point - source).norm()).backward()
            x = torch.clip(x - 1e-4 * std * point.grad.sign(), 0, 1)
        torch.testing.assert_close(ours[row], x, rtol=0, atol=1e-9)


def test_feature_fool_stays_where_the_triplet_is_met(network: nn.Sequential, aimed: Aim) -> None:
    assert torch.equal(run(FeatureFool(margin=-10.0), network, aimed), aimed.sources)


def test_feature_adversary_stays_in_its_box_and_nears_its_guide(network: nn.Sequential, aimed: Aim) -> None:
    ours, fast = (run(attack, network, aimed) for attack in (FeatureAdversary(), FastFeatureAdversary()))
    guides, phi = guides_of(network, aimed), network[:-1]
    at_first = (phi(aimed.sources) - phi(guides)).norm(dim=1)
    natural = aimed.targets < 3  # the guide of the fourth row is within a ball of it, and easily met
    for images, reach, share in ((ours, 10 / 255, 0.9), (fast, 0.3, 0.7)):
        assert (images - aimed.sources).abs().max() <= reach + 1e-12
        assert (images - aimed.sources).abs().max() > reach - 1e-6  # and uses it
        assert images.min() >= 0
        assert images.max() <= 1
        left = (phi(images) - phi(guides)).norm(dim=1)
        assert (left < share * at_first)[natural].all()


def test_feature_adversary_is_the_literal_minimiser(network: nn.Sequential, aimed: Aim) -> None:
    ours, guides, phi = run(FeatureAdversary(), network, aimed), guides_of(network, aimed), network[:-1]
    for row in range(ROWS):

        def evaluate(x, guide=guides[row]):
            point = torch.from_numpy(x).clone().requires_grad_()
            value = (phi(point.view(1, 3, 8, 8)) - phi(guide[None])).square().sum()
            (gradient,) = torch.autograd.grad(value, point)
            return value.item(), gradient.numpy()

        start = aimed.sources[row].flatten().numpy()
        box = [(max(v - 10 / 255, 0), min(v + 10 / 255, 1)) for v in start]
        expected, _, _ = fmin_l_bfgs_b(evaluate, start, bounds=box, maxiter=10, factr=1e7, pgtol=1e-5)
        torch.testing.assert_close(ours[row].flatten(), torch.from_numpy(expected), rtol=0, atol=1e-6)


@pytest.mark.parametrize("attack", ALL, ids=repr)
def test_rows_do_not_depend_on_their_batch(attack: Perturbation, network: nn.Sequential, aimed: Aim) -> None:
    before = run(attack, network, aimed)
    mates = aimed.sources.flip(3).clone()
    mates[2] = aimed.sources[2]
    targets = (aimed.targets + 1) % CLASSES
    targets[2] = aimed.targets[2]
    after = run(attack, network, aimed._replace(sources=mates, targets=targets))
    torch.testing.assert_close(before[2], after[2], rtol=0, atol=1e-9)
    assert (before[0] - after[0]).abs().max() > 1e-3
    assert isinstance(attack, Perturbation)


@pytest.mark.parametrize("attack", ALL, ids=repr)
def test_float32_images_stay_images(attack: Perturbation, generator: torch.Generator) -> None:
    model = build(ConvNet(((4,), (6,))), CLASSES, generator).eval().requires_grad_(False)
    known = torch.rand(8, 3, 8, 8, generator=generator).round(decimals=1)
    labels = torch.arange(8) % 3
    sources = known[:4].contiguous(memory_format=torch.channels_last)
    aimed = Aim(sources, labels[:4], labels[1:5], known, labels)
    crafted = run(attack, model, aimed)
    assert crafted.dtype == torch.float32
    assert crafted.min() >= 0
    assert crafted.max() <= 1
    assert torch.equal(crafted, run(attack, model, aimed))
