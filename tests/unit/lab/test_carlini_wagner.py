"""Carlini & Wagner against Foolbox, image by image and in batches."""

import warnings
from dataclasses import replace
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from redhanded.lab.attacks.carlini_wagner import CarliniWagner
from redhanded.lab.attacks.perturb import Aim, Crafted, Perturbation
from redhanded.lab.models import Normalise, seeded
from redhanded.lab.training import Training, train_classifier

CLASSES = 5
BRIEF = CarliniWagner(steps=40, searches=4, step=0.03)


@pytest.fixture(scope="module")
def trained() -> tuple[nn.Module, Tensor, Tensor]:
    """A float64 classifier of noisy 8x8 prototypes, and images it never saw with their classes."""
    generator = torch.Generator().manual_seed(5)
    prototypes = torch.rand(CLASSES, 3, 8, 8, generator=generator)
    classes = torch.randint(0, CLASSES, (424,), generator=generator)
    noise = torch.randn(424, 3, 8, 8, generator=generator) * 0.25
    images = (prototypes[classes] + noise).clamp(0, 1)
    with seeded(generator):
        layers = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, CLASSES)
        network = nn.Sequential(Normalise(), *layers)
    training = Training(epochs=6, batch=40, lr=0.02)
    train_classifier(network, images[:400], torch.eye(CLASSES)[classes[:400]], training, generator)
    network.double().eval().requires_grad_(False)
    held_out = images[400:].double()
    assert (network(held_out).argmax(1) == classes[400:]).double().mean() > 0.9
    return network, held_out, classes[400:]


def aim(sources: Tensor, labels: Tensor, shift: int = 1) -> Aim:
    """Towards the class `shift` on."""
    return Aim(sources, labels, (labels + shift) % CLASSES, sources, labels)


def craft(attack: CarliniWagner, network: nn.Module, aimed: Aim) -> Crafted:
    generator = torch.Generator().manual_seed(1)
    before = generator.get_state()
    crafted = attack(network, aimed, generator)
    assert torch.equal(generator.get_state(), before)  # nothing is random
    return crafted


def with_foolbox(network: nn.Module, aimed: Aim, attack: CarliniWagner) -> tuple[Tensor, Tensor]:
    foolbox = imported()
    theirs = foolbox.attacks.L2CarliniWagnerAttack(
        binary_search_steps=attack.searches,
        steps=attack.steps,
        stepsize=attack.step,
        confidence=attack.confidence,
        initial_const=attack.initial_constant,
    )
    assert theirs.abort_early == attack.abort_early
    model = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
    criterion = foolbox.criteria.TargetedMisclassification(aimed.targets)
    raw, _, reached = theirs(model, aimed.sources, criterion, epsilons=None)
    return raw, reached


def imported() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it imports what SciPy has moved
        import foolbox

    return foolbox


def part(aimed: Aim, rows: slice) -> Aim:
    return Aim(aimed.sources[rows], aimed.labels[rows], aimed.targets[rows], aimed.known, aimed.known_labels)


def distance(crafted: Tensor, aimed: Aim) -> Tensor:
    return (crafted - aimed.sources).flatten(1).norm(dim=1)


def test_is_a_perturbation_with_the_papers_settings() -> None:
    assert isinstance(CarliniWagner(), Perturbation)
    assert CarliniWagner(150, 5, 0.01, 0.0, 1e-3, True, "corrected") == CarliniWagner()
    defaults = imported().attacks.L2CarliniWagnerAttack()
    assert (defaults.stepsize, defaults.confidence, defaults.initial_const) == (0.01, 0, 1e-3)


@pytest.mark.parametrize(("confidence", "constant"), [(0.0, 0.02), (0.5, 0.2)])
def test_each_image_of_a_batch_is_what_foolbox_makes_of_it_alone(
    trained: tuple[nn.Module, Tensor, Tensor], confidence: float, constant: float
) -> None:
    network, sources, labels = trained
    aimed = aim(sources[:4], labels[:4])
    attack = replace(BRIEF, confidence=confidence, initial_constant=constant)  # to grow, then bisect
    ours = craft(attack, network, aimed)
    for row in range(4):
        theirs, _ = with_foolbox(network, part(aimed, slice(row, row + 1)), attack)
        # Foolbox rounds its constants to float32
        torch.testing.assert_close(ours.images[row], theirs[0], rtol=0, atol=1e-5)
        assert bool(ours.failed[row]) == bool((theirs == 0).all())
    assert (distance(ours.images, aimed)[~ours.failed] > 0.05).all()
    assert not ours.failed.all()


def test_succeeds_as_often_as_foolbox_and_as_near(trained: tuple[nn.Module, Tensor, Tensor]) -> None:
    network, sources, labels = trained
    aimed = aim(sources, labels)
    ours = craft(CarliniWagner(), network, aimed)
    theirs, reached = with_foolbox(network, aimed, CarliniWagner())
    assert torch.equal(~ours.failed, reached)
    one, other = distance(ours.images, aimed)[reached].mean(), distance(theirs, aimed)[reached].mean()
    assert abs(one / other - 1) < 0.03
    assert reached.double().mean() >= 0.95


def test_reaches_its_targets_with_images(trained: tuple[nn.Module, Tensor, Tensor]) -> None:
    network, sources, labels = trained
    aimed = aim(sources, labels, shift=2)
    crafted = craft(CarliniWagner(), network, aimed)
    reached = network(crafted.images).argmax(1) == aimed.targets
    assert reached.double().mean() >= 0.95
    assert torch.equal(reached, ~crafted.failed)
    assert torch.equal(crafted.keep, ~crafted.failed)
    assert crafted.images.min() >= 0
    assert crafted.images.max() <= 1
    assert not crafted.images.requires_grad
    # twice as near, it is what it was: there is no slack in the distance
    halfway = (aimed.sources + crafted.images) / 2
    assert (network(halfway).argmax(1) != aimed.targets).all()


def test_confidence_is_a_lead_over_the_other_classes(trained: tuple[nn.Module, Tensor, Tensor]) -> None:
    network, sources, labels = trained
    aimed = aim(sources[:8], labels[:8])
    crafted = craft(replace(BRIEF, searches=5, confidence=0.5), network, aimed)
    logits = network(crafted.images)
    others = logits.scatter(1, aimed.targets[:, None], -torch.inf).amax(1)
    lead = logits.gather(1, aimed.targets[:, None])[:, 0] - others
    assert (lead[~crafted.failed] > 0.5 - 1e-6).all()
    assert (~crafted.failed).sum() >= 6


def test_rows_do_not_depend_on_their_batch(trained: tuple[nn.Module, Tensor, Tensor]) -> None:
    network, sources, labels = trained
    aimed = aim(sources[:9], labels[:9])
    sizes: list[int] = []
    hook = network.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    together = craft(BRIEF, network, aimed)
    hook.remove()
    assert len(set(sizes)) > 2  # rows left the batch at different times
    for rows in (slice(0, 1), slice(3, 7), slice(8, 9)):
        apart = craft(BRIEF, network, part(aimed, rows))
        torch.testing.assert_close(together.images[rows], apart.images, rtol=0, atol=1e-9)
        assert torch.equal(together.failed[rows], apart.failed)


def test_a_row_without_progress_costs_no_more_steps(trained: tuple[nn.Module, Tensor, Tensor]) -> None:
    network, sources, labels = trained
    aimed = aim(sources[:4], labels[:4])
    counts = []
    for attack in (BRIEF, replace(BRIEF, abort_early=False)):
        rows: list[int] = []
        hook = network.register_forward_pre_hook(lambda _, inputs, rows=rows: rows.append(len(inputs[0])))
        crafted = craft(attack, network, aimed)
        hook.remove()
        counts.append(sum(rows))
        assert (distance(crafted.images, aimed)[~crafted.failed] < 3).all()
    assert counts[0] < 0.9 * counts[1] == 0.9 * 4 * 40 * 4


def test_a_source_already_at_its_target_comes_back(trained: tuple[nn.Module, Tensor, Tensor]) -> None:
    network, sources, _ = trained
    said = network(sources[:5]).argmax(1)
    crafted = craft(BRIEF, network, Aim(sources[:5], (said + 1) % CLASSES, said, sources, said))
    torch.testing.assert_close(crafted.images, sources[:5], rtol=0, atol=2e-6)
    assert not crafted.failed.any()


def test_failures_are_left_out_or_black(trained: tuple[nn.Module, Tensor, Tensor]) -> None:
    network, sources, labels = trained
    aimed = aim(sources[:6], labels[:6])
    hopeless = CarliniWagner(steps=10, searches=1)  # c = 0.001 leads nowhere
    corrected = craft(hopeless, network, aimed)
    released = craft(replace(hopeless, fidelity="released"), network, aimed)
    for crafted in (corrected, released):
        assert crafted.failed.all()
        assert (crafted.images == 0).all()
    assert not corrected.keep.any()
    assert released.keep.all()
    theirs, _ = with_foolbox(network, aimed, hopeless)
    assert torch.equal(released.images, theirs)
