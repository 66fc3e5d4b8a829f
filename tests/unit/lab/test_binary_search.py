"""JBA-BS against a loop over single images."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from redhanded.lab.attacks.binary_search import BinarySearch
from redhanded.lab.attacks.perturb import Aim, Crafted, LinfPgd, Perturbation
from redhanded.lab.models import CIFAR10_STD, Normalise, seeded
from redhanded.lab.types import Fidelity

CLASSES = 8
ROWS = 24
PGD = LinfPgd(epsilon=16 / 256)
STD = torch.tensor(CIFAR10_STD, dtype=torch.float64).view(3, 1, 1)


@pytest.fixture
def network(generator: torch.Generator) -> nn.Module:
    """Wiggly enough for a third class to lie between a source and its adversarial example."""
    with seeded(generator):
        layers = nn.Conv2d(3, 6, 3), nn.Tanh(), nn.Flatten(), nn.Linear(6 * 36, CLASSES)
        layers[0].weight.data *= 6
        return nn.Sequential(Normalise(), *layers).double().eval().requires_grad_(False)


@pytest.fixture
def aimed(network: nn.Module, generator: torch.Generator) -> Aim:
    """Some labels are not what the surrogate says, and some targets are."""
    sources = torch.rand(ROWS, 3, 8, 8, generator=generator, dtype=torch.float64)
    said = network(sources).argmax(1)
    labels = torch.where(torch.arange(ROWS) % 4 == 0, (said + 1) % CLASSES, said)
    targets = (labels + 1 + torch.arange(ROWS) % (CLASSES - 1)) % CLASSES
    assert (targets == said).any()
    return Aim(sources, labels, targets, sources, labels)


def literal(
    network: nn.Module, source: Tensor, adversarial: Tensor, ends: tuple[int, int], attack: BinarySearch
) -> tuple[Tensor, str, int]:
    """One image, by the update and stopping rules of the paper; also why it stopped, and after how many."""
    own, target = ends
    x_s, x_t = source, adversarial
    scale = STD if attack.fidelity == "released" else torch.ones_like(STD)
    for count in range(1, attack.max_steps + 1):
        middle = (x_s + x_t) / 2
        said = int(network(middle[None]).argmax())
        if said == target:
            x_t = middle
        elif said == own:
            x_s = middle
        else:
            return middle, "other", count
        if ((x_s - x_t) / scale).abs().max() < attack.epsilon:
            return middle, "gap", count
    return middle, "steps", count


def craft(attack: BinarySearch, network: nn.Module, aimed: Aim) -> Crafted:
    return attack(network, aimed, torch.Generator().manual_seed(3))


@pytest.mark.parametrize("max_steps", [1000, 4])
@pytest.mark.parametrize("fidelity", ["corrected", "released"])
def test_is_the_loop_image_by_image(
    network: nn.Module, aimed: Aim, fidelity: Fidelity, max_steps: int
) -> None:
    attack = BinarySearch(PGD, max_steps=max_steps, fidelity=fidelity)
    ours = craft(attack, network, aimed)
    adversarial = PGD(network, aimed, torch.Generator().manual_seed(3)).images
    said = network(aimed.sources).argmax(1)
    why = []
    for row in range(ROWS):
        own = int((said if fidelity == "corrected" else aimed.labels)[row])
        target = int(aimed.targets[row])
        missed = int(network(adversarial[row][None]).argmax()) != target
        nothing_between = fidelity == "corrected" and own == target
        assert bool(ours.failed[row]) == (missed or nothing_between)
        assert bool(ours.keep[row]) != bool(ours.failed[row])
        if ours.keep[row]:
            ends = own, target
            expected, reason, _ = literal(network, aimed.sources[row], adversarial[row], ends, attack)
            torch.testing.assert_close(ours.images[row], expected, rtol=0, atol=1e-12)
            why.append(reason)
    assert set(why) == {"other", "gap" if max_steps == 1000 else "steps"}
    assert ours.failed.any()


def test_ends_on_the_boundary_or_in_a_third_class(network: nn.Module, aimed: Aim) -> None:
    crafted = craft(BinarySearch(PGD), network, aimed)
    images, targets = crafted.images[crafted.keep], aimed.targets[crafted.keep]
    sources, own = aimed.sources[crafted.keep], network(aimed.sources[crafted.keep]).argmax(1)
    said = network(images).argmax(1)
    third = (said != targets) & (said != own)
    along = (images - sources) / (images - sources).flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    width = 3e-6 * along[0].numel() ** 0.5  # ends nearer than 1e-6 a pixel
    before, after = (network(images + side * width * along).argmax(1) for side in (-1, 1))
    crossed = (before == own) & (after == targets)
    assert (third | crossed).all()
    assert third.any()
    assert crossed.sum() > 5


def test_takes_as_many_steps_as_the_gap_needs(network: nn.Module, aimed: Aim) -> None:
    counts, gone = {}, False
    for fidelity in ("corrected", "released"):
        batches: list[int] = []
        hook = network.register_forward_pre_hook(lambda _, x, batches=batches: batches.append(len(x[0])))
        pgd = replace(PGD, epsilon=8 / 256)
        crafted = craft(BinarySearch(pgd, fidelity=fidelity), network, aimed)
        hook.remove()
        looks = batches[pgd.steps + (2 if fidelity == "corrected" else 1) :]
        assert looks == sorted(looks, reverse=True)  # rows only leave
        assert looks[0] == int(crafted.keep.sum())
        counts[fidelity] = len(looks)
        gone |= looks[-1] < looks[0]
    assert gone
    assert counts == {"corrected": 15, "released": 18}  # log2 of .03125 / 1e-6, and of .157 / 1e-6


def test_where_the_surrogate_already_says_the_target(network: nn.Module, aimed: Aim) -> None:
    there = aimed._replace(targets=network(aimed.sources).argmax(1))
    corrected = craft(BinarySearch(PGD), network, there)
    assert corrected.failed.all()
    assert not corrected.keep.any()
    others = (there.targets + 1) % CLASSES
    released = craft(BinarySearch(PGD, fidelity="released"), network, there._replace(labels=others))
    assert released.keep.any()
    # the target all the way: it walks back to its source
    walked = (released.images - aimed.sources).flatten(1).abs().amax(1)[released.keep]
    assert (walked < 1e-6).float().mean() > 0.8


def test_rows_do_not_depend_on_their_batch(network: nn.Module, aimed: Aim) -> None:
    attack = BinarySearch(replace(PGD, random_start=False))
    together = craft(attack, network, aimed)
    for row in range(0, ROWS, 5):
        alone = Aim(*(part[row : row + 1] for part in aimed))
        apart = craft(attack, network, alone)
        torch.testing.assert_close(together.images[row], apart.images[0], rtol=0, atol=1e-12)
        assert together.keep[row] == apart.keep[0]


def test_nothing_to_search_asks_nothing(network: nn.Module, aimed: Aim) -> None:
    batches: list[int] = []
    network.register_forward_pre_hook(lambda _, x: batches.append(len(x[0])))
    crafted = craft(BinarySearch(LinfPgd(epsilon=1e-9, random_start=False)), network, aimed)
    assert crafted.failed.all()
    assert min(batches) == ROWS
    assert not crafted.images.requires_grad
    assert isinstance(BinarySearch(), Perturbation)
    assert BinarySearch(LinfPgd(), 1e-6, 1000, CIFAR10_STD, "corrected") == BinarySearch()
