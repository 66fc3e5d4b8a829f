"""The learned blinder: its objective by hand, and what a short training teaches it."""

import copy
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn

from redhanded.lab.adaptive.autoencoder import (
    AutoEncoder,
    Blinding,
    Network,
    blinding_loss,
    train_autoencoder,
)
from redhanded.lab.adaptive.blinding import blind
from redhanded.lab.models import CIFAR10_MEAN, CIFAR10_STD, ConvNet, build, seeded

IMAGES = torch.rand(16, 3, 8, 8, generator=torch.Generator().manual_seed(4)) * 0.6 + 0.2
SHORT = replace(Blinding().training, epochs=20, batch=8)


@pytest.fixture
def classifier(generator: torch.Generator) -> nn.Module:
    return build(ConvNet(((4,), (8,))), 3, generator).eval()


@pytest.fixture
def network(generator: torch.Generator) -> Network:
    with seeded(generator):
        return Network().eval()


def distance(blinder: AutoEncoder, images: Tensor = IMAGES) -> float:
    """Mean L2 distance between two blindings of the same images."""
    one, other = (blinder(images, torch.Generator().manual_seed(seed)) for seed in (5, 6))
    return float((one - other).flatten(1).norm(dim=1).mean())


def test_layers_are_the_reference_s(network: Network) -> None:
    convolutions = [layer for layer in network.layers if isinstance(layer, nn.Conv2d)]
    assert [layer.in_channels for layer in convolutions] == [6, 16, 32, 64, 64, 64, 64, 32]
    assert [layer.out_channels for layer in convolutions] == [16, 32, 64, 64, 64, 64, 32, 3]
    assert {layer.kernel_size for layer in convolutions} == {(3, 3)}
    kinds = [type(layer) for layer in network.layers]
    assert kinds == [nn.Conv2d, nn.ReLU, nn.BatchNorm2d] * 7 + [nn.Conv2d]


def test_without_weights_it_changes_nothing(network: Network, generator: torch.Generator) -> None:
    last = network.layers[-1]
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    assert torch.equal(AutoEncoder(network)(IMAGES, generator), IMAGES)
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (CIFAR10_MEAN, CIFAR10_STD))
    flattened = ((IMAGES - mean) / deviation).clamp(0, 1) * deviation + mean
    released = AutoEncoder(network, Blinding(fidelity="released"))(IMAGES, generator)
    torch.testing.assert_close(released, flattened)


def test_the_network_sees_the_image_and_its_clipped_noisy_copy(network: Network) -> None:
    seen: list[Tensor] = []
    network.layers[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    noise = torch.full_like(IMAGES, 0.5)
    network(IMAGES, noise)
    assert torch.equal(seen[0][:, :3], IMAGES)
    assert torch.equal(seen[0][:, 3:], (IMAGES + 0.5).clamp(max=1))
    AutoEncoder(network, Blinding(noise=0.01))(IMAGES, torch.Generator().manual_seed(7))
    drawn = torch.randn(IMAGES.shape, generator=torch.Generator().manual_seed(7))
    torch.testing.assert_close(seen[1][:, 3:], IMAGES + 0.01 * drawn)


def test_objective_by_hand() -> None:
    answers, wanted = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [5.0, 5.0]])
    # F(t(x)) is (1/4, 3/4) and (1/2, 1/2) where (1/2, 1/2) is wanted
    entropy = (-0.5 * math.log(1 / 4) - 0.5 * math.log(3 / 4) + math.log(2)) / 2
    one = torch.zeros(2, 1, 1, 2)
    other = torch.tensor([[3.0, 4.0], [0.0, 1.0]]).view(2, 1, 1, 2)  # at distances 5 and 1, 3 on average
    features = (torch.zeros(2, 4), torch.ones(2, 4))  # at distance 2
    for apart, expected in ((10.0, 2 * 9 + 4), (2.5, 2 * 6.25 + 4), (1.0, 3.0)):
        loss = blinding_loss(answers, wanted, [(one, other), features], [2.0, 1.0], apart)
        assert float(loss) == pytest.approx(entropy - expected)


def test_no_gradient_beyond_the_distance_nor_through_the_target() -> None:
    answers, wanted = torch.zeros(2, 3), torch.randn(2, 3, requires_grad=True)
    near, far = (torch.full((2, 4), value, requires_grad=True) for value in (0.1, 10.0))
    zero = torch.zeros(2, 4)
    blinding_loss(answers, wanted, [(zero, near), (zero, far)], [1.0, 1.0], apart=2.0).backward()
    assert wanted.grad is None
    assert (near.grad < 0).all()  # descending moves it away
    assert (far.grad == 0).all()


def test_blindings_are_images_and_differ(network: Network, generator: torch.Generator) -> None:
    blinder = AutoEncoder(network)
    one, other = blinder(IMAGES, generator), blinder(IMAGES, generator)
    assert one.shape == IMAGES.shape
    assert not one.requires_grad
    assert one.min() >= 0
    assert one.max() <= 1
    assert not any(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    twins = blinder(IMAGES[:1].expand(3, -1, -1, -1), generator)
    assert not torch.equal(twins[0], twins[1])
    assert torch.equal(*(blinder(IMAGES, torch.Generator().manual_seed(0)) for _ in range(2)))
    assert blinder(IMAGES[:0], generator).shape == IMAGES[:0].shape
    sent = blind(blinder, generator)(IMAGES, "augmented").sent
    assert not torch.equal(sent, IMAGES)


def test_it_is_judged_in_batches_that_change_nothing(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = torch.randn(IMAGES.shape, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr("redhanded.lab.adaptive.autoencoder.BATCH", 5)
    parts = iter(drawn.split(5))
    monkeypatch.setattr(torch, "randn", lambda *_, **__: next(parts))
    ours = AutoEncoder(network.train())(IMAGES, torch.Generator())
    with torch.no_grad():
        torch.testing.assert_close(ours, network(IMAGES, 0.095 * drawn), atol=1e-5, rtol=0)
    assert not network.training


def test_training_drives_blindings_apart_up_to_the_distance(classifier: nn.Module) -> None:
    def trained(**changes: float) -> AutoEncoder:
        config = replace(Blinding(training=SHORT), **changes)
        return train_autoencoder(config, IMAGES, classifier, torch.Generator().manual_seed(1))

    far, indifferent = distance(trained(apart=10.0)), distance(trained(weight=0.0))
    assert far > 2 * indifferent
    near = distance(trained(apart=3.0))
    assert 1.2 * indifferent < near < 0.8 * far  # no reward beyond 3


def test_training_lowers_the_loss_and_alters_nothing_else(classifier: nn.Module) -> None:
    before = copy.deepcopy(classifier.state_dict())
    losses: list[float] = []
    heard: list[tuple[int, int]] = []
    config = Blinding(weight=0.0, training=SHORT)
    with pytest.MonkeyPatch.context() as patch:

        def watched(*given: Tensor) -> Tensor:
            loss = blinding_loss(*given)
            losses.append(float(loss.detach()))
            return loss

        patch.setattr("redhanded.lab.adaptive.autoencoder.blinding_loss", watched)
        blinder = train_autoencoder(
            config,
            IMAGES,
            classifier,
            torch.Generator().manual_seed(1),
            progress=lambda *at: heard.append(at),
        )
    assert sum(losses[-4:]) < sum(losses[:4])
    assert heard[-1] == (40, 40)
    assert not blinder.network.training
    assert not classifier.training
    assert all(p.requires_grad for p in classifier.parameters())
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())
    # it answers as the image does
    changed = blinder(IMAGES, torch.Generator().manual_seed(2))
    with torch.no_grad():
        wanted = classifier(IMAGES).softmax(1)
        excess = F.cross_entropy(classifier(changed), wanted) - F.cross_entropy(classifier(IMAGES), wanted)
    assert float(excess) < 0.1


@pytest.mark.parametrize("fidelity", ["corrected", "released"])
def test_released_leaves_the_classifier_in_training_mode(fidelity: str) -> None:
    modes: list[bool] = []

    class Spy(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            modes.append(self.training)
            return images.mean((2, 3))

    config = Blinding(training=replace(SHORT, epochs=1), fidelity=fidelity)
    train_autoencoder(config, IMAGES, Spy(), torch.Generator().manual_seed(1))
    assert set(modes) == {fidelity == "released"}


def test_peeking_counts_as_the_images_do(classifier: nn.Module) -> None:
    """An encoder whose features are the pixels does what the images' own distance does."""
    training = replace(SHORT, epochs=2)
    by_peeking, by_weight = (
        train_autoencoder(
            Blinding(weight=weight, training=training),
            IMAGES,
            classifier,
            torch.Generator().manual_seed(1),
            peek=peek,
        )
        for weight, peek in ((0.0, nn.Flatten()), (1.0, None))
    )
    untrained = train_autoencoder(
        Blinding(training=replace(SHORT, epochs=0)), IMAGES, classifier, torch.Generator().manual_seed(1)
    )
    first = "layers.0.weight"
    weights = [one.network.state_dict()[first] for one in (by_peeking, by_weight, untrained)]
    torch.testing.assert_close(weights[0], weights[1], atol=1e-5, rtol=0)
    assert (weights[0] - weights[2]).abs().max() > 1e-3
