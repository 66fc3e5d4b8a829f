"""The VQ-VAE, its codebook, its prior, and the likelihoods that are exported."""

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from redhanded.detectors.likelihood import LikelihoodDetector
from redhanded.errors import OutOfTimeError, RedhandedError
from redhanded.lab.encoders.embed import TorchEncoder, export_onnx
from redhanded.lab.encoders.prior import ElboLogLikelihood, PixelCnn, train_prior
from redhanded.lab.encoders.vqvae import Codebook, LogLikelihood, VqVae, VqVaeNetwork, quality, train_vqvae
from redhanded.lab.models import CIFAR10_MEAN, CIFAR10_STD, seeded
from redhanded.lab.training import Checkpoint

SMALL = VqVae(width=16, residual_hidden=4, codes=24, dimension=8)


def seed(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def pictures(count: int = 40, side: int = 16) -> Tensor:
    """Smooth random images."""
    return F.interpolate(torch.rand(count, 3, 4, 4, generator=seed(1)), size=side, mode="bilinear")


def network_of(**changes: Any) -> VqVaeNetwork:
    """An untrained network whose codes are latents of its own images, so that it uses them all."""
    with seeded(seed()):
        network = replace(SMALL, data_variance=0.05, **changes).build().eval()
    latents = network.encoder(network.normalise(pictures())).detach()
    spread = latents.permute(0, 2, 3, 1).flatten(0, 2)
    network.codebook.vectors.copy_(spread[:: len(spread) // SMALL.codes][: SMALL.codes])
    return network


def test_the_defaults_are_the_references() -> None:
    config = VqVae()
    assert (config.width, config.residual_hidden, config.residual_blocks) == (128, 32, 2)
    assert (config.codes, config.dimension, config.decay, config.epsilon) == (512, 64, 0.99, 1e-5)
    assert (config.commitment, config.normalisation, config.data_variance) == (0.25, "centre", None)


def test_the_layers_are_the_references() -> None:
    network = VqVae(data_variance=0.06).build()
    layers = [
        (type(layer).__name__, layer.in_channels, layer.out_channels, layer.kernel_size[0], layer.stride[0])
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    ]
    block = [("Conv2d", 128, 32, 3, 1), ("Conv2d", 32, 128, 1, 1)]
    assert layers == [
        ("Conv2d", 3, 64, 4, 2),
        ("Conv2d", 64, 128, 4, 2),
        ("Conv2d", 128, 128, 3, 1),
        *block * 2,
        ("Conv2d", 128, 64, 1, 1),
        ("Conv2d", 64, 128, 3, 1),
        *block * 2,
        ("ConvTranspose2d", 128, 64, 4, 2),
        ("ConvTranspose2d", 64, 3, 4, 2),
    ]
    coded = network.eval()(torch.rand(2, 3, 32, 32))
    assert coded.codes.shape == (2, 8, 8)
    assert coded.reconstruction.shape == (2, 3, 32, 32)
    assert not any(name.startswith("codebook") for name, _ in network.named_parameters())


def test_a_residual_block_carries_the_rectified_input() -> None:
    """The reference's first ReLU works in place, on what the shortcut carries."""
    network = network_of()
    block = network.encoder[5]
    inputs = torch.randn(2, 16, 4, 4, generator=seed())

    class Reference(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.ReLU(True), block.inner[0], nn.ReLU(True), block.inner[2])

        def forward(self, images: Tensor) -> Tensor:
            return images + self.inner(images)

    with torch.no_grad():
        torch.testing.assert_close(block(inputs), Reference()(inputs.clone()), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("normalisation", "mean", "std"),
    [("centre", (0.5,) * 3, (1.0,) * 3), ("cifar10", CIFAR10_MEAN, CIFAR10_STD)],
)
def test_the_likelihood_is_minus_the_normalised_squared_error_over_the_variance(
    normalisation: Any, mean: Any, std: Any
) -> None:
    network = network_of(normalisation=normalisation)
    images = pictures(5)
    with torch.no_grad():
        found = LogLikelihood(network)(images)
        target = (images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
        rebuilt = network.decoder(F.embedding(network(images).codes, network.codebook.vectors).movedim(3, 1))
    expected = [-float((a - b).square().mean()) / 0.05 for a, b in zip(target, rebuilt, strict=True)]
    assert found.shape == (5, 1)
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-5)


def test_every_latent_gets_its_nearest_vector() -> None:
    book = Codebook(24, 8, 0.99, 1e-5)
    latents = torch.randn(3, 8, 4, 5, generator=seed())
    apart = torch.cdist(latents.permute(0, 2, 3, 1).flatten(0, 2).double(), book.vectors.double())
    assert torch.equal(book.nearest(latents).flatten(), apart.argmin(1))


def test_the_gradient_passes_straight_through() -> None:
    book = Codebook(24, 8, 0.99, 1e-5).eval()
    latents = torch.randn(2, 8, 3, 3, generator=seed(), requires_grad=True)
    quantised, codes, commitment = book(latents)
    torch.testing.assert_close(quantised, F.embedding(codes, book.vectors).movedim(3, 1))
    weights = torch.randn(quantised.shape, generator=seed(1))
    (given,) = torch.autograd.grad((quantised * weights).sum(), latents, retain_graph=True)
    assert torch.equal(given, weights)
    (pulled,) = torch.autograd.grad(commitment, latents)
    torch.testing.assert_close(pulled, 2 * (latents - quantised) / latents.numel())


def test_the_codebook_follows_as_computed_by_hand() -> None:
    """Decay 0.5, epsilon 1; three latents, two of them nearest to the first of two vectors."""
    book = Codebook(2, 1, 0.5, 1.0)
    book.vectors.copy_(torch.tensor([[0.0], [10.0]]))
    book.counts.copy_(torch.tensor([2.0, 4.0]))
    book.sums.copy_(torch.tensor([[6.0], [8.0]]))
    quantised, codes, commitment = book(torch.tensor([1.0, 3.0, 8.0]).view(1, 1, 1, 3))
    # what is quantised is still the former vectors'
    assert quantised.flatten().tolist() == [0, 0, 10]
    assert codes.flatten().tolist() == [0, 0, 1]
    assert float(commitment) == pytest.approx((1 + 9 + 4) / 3)
    # counts: 2/2 + 2/2 = 2 and 4/2 + 1/2 = 2.5, of 4.5; smoothed (2 + 1) / (4.5 + 2) * 4.5
    smoothed = [3 / 6.5 * 4.5, 3.5 / 6.5 * 4.5]
    assert book.counts.tolist() == pytest.approx(smoothed)
    # sums: 6/2 + (1 + 3)/2 = 5 and 8/2 + 8/2 = 8
    assert book.sums.flatten().tolist() == [5, 8]
    assert book.vectors.flatten().tolist() == pytest.approx([5 / smoothed[0], 8 / smoothed[1]])
    before = {name: value.clone() for name, value in book.state_dict().items()}
    book.eval()(torch.ones(1, 1, 2, 2))
    assert all(torch.equal(value, before[name]) for name, value in book.state_dict().items())


def test_training_lowers_the_loss_and_measures_the_variance() -> None:
    images = pictures()
    # a decay at which unused codes come back within a few updates instead of a thousand
    quick = replace(SMALL, decay=0.5)
    trained = train_vqvae(quick, images, seed(), updates=120, batch=16)
    barely = train_vqvae(quick, images, seed(), updates=1, batch=16)
    assert not trained.training
    assert float(trained.data_variance) == pytest.approx(images.numpy().var(dtype=np.float64), rel=1e-5)
    assert trained.config.data_variance == pytest.approx(float(trained.data_variance))
    found, before = quality(trained, images), quality(barely, images)
    # the error of the best constant image is the variance
    assert found.mse < 0.9 * float(trained.data_variance) < before.mse
    assert found.perplexity > 3
    assert not torch.equal(trained.codebook.vectors, barely.codebook.vectors)
    given = train_vqvae(replace(SMALL, data_variance=0.5), images, seed(), updates=1, batch=16)
    assert float(given.data_variance) == 0.5


def test_training_depends_on_the_generator_alone_and_resumes(tmp_path: Path) -> None:
    images, path = pictures(), tmp_path / "training.safetensors"
    seen: list[tuple[int, int]] = []
    whole = train_vqvae(
        SMALL, images, seed(), updates=12, batch=8, progress=lambda *at: seen.append(at)
    ).state_dict()
    assert seen == [(10, 12), (12, 12)]
    late = Checkpoint(path, deadline=time.monotonic())
    with pytest.raises(OutOfTimeError):
        train_vqvae(SMALL, images, seed(), updates=12, batch=8, checkpoint=late)
    resumed = train_vqvae(SMALL, images, seed(), updates=12, batch=8, checkpoint=Checkpoint(path))
    assert all(torch.equal(value, whole[name]) for name, value in resumed.state_dict().items())


def test_images_of_one_colour_teach_nothing() -> None:
    with pytest.raises(RedhandedError, match=r"^images: [^\n]+$"):
        train_vqvae(SMALL, torch.full((4, 3, 16, 16), 0.5), seed(), updates=1)


def test_without_a_variance_there_is_no_likelihood_and_it_travels_with_the_weights() -> None:
    network = SMALL.build()
    with pytest.raises(RedhandedError, match=r"^data_variance: [^\n]+$"):
        LogLikelihood(network)
    network.load_state_dict(network_of().state_dict())
    assert float(LogLikelihood(network).network.data_variance) == pytest.approx(0.05)


def test_quality_by_hand() -> None:
    network, images = network_of(), pictures()
    with torch.no_grad():
        coded = network(images)
        likelihoods = LogLikelihood(network)(images)
    found = quality(network, images, batch=7)
    assert found.mse == pytest.approx(-float(likelihoods.mean()) * 0.05, rel=1e-5)
    shares = np.bincount(coded.codes.flatten().numpy()) / coded.codes.numel()
    assert found.perplexity == pytest.approx(math.exp(-sum(s * math.log(s) for s in shares if s)), rel=1e-9)
    assert 6 < found.perplexity <= SMALL.codes
    network.codebook.vectors[1:] = 1e3
    assert quality(network, images).perplexity == pytest.approx(1)


def test_a_later_code_changes_no_earlier_logit_and_every_earlier_one_may() -> None:
    with seeded(seed()):
        prior = PixelCnn(width=12, blocks=3).build(10).eval()
    codes = torch.randint(10, (1, 6, 6), generator=seed())
    with torch.no_grad():
        before = prior(codes).flatten(2)
        assert before.shape == (1, 10, 36)
        reached = 0
        for place in range(36):
            changed = codes.flatten().clone()
            changed[place] = (changed[place] + 1) % 10
            moved = (prior(changed.view(1, 6, 6)).flatten(2) != before).any(1)[0]
            assert not moved[: place + 1].any()
            reached += int(moved.any())
    assert reached == 35  # every place but the last is seen by some later one


def test_the_prior_is_a_distribution_over_grids() -> None:
    with seeded(seed()):
        prior = PixelCnn(width=6, blocks=1).build(3)
    grids = torch.cartesian_prod(*[torch.arange(3)] * 4).view(-1, 2, 2)
    with torch.no_grad():
        probabilities = prior.log_probability(grids).exp()
    assert probabilities.shape == (81, 1)
    assert float(probabilities.sum()) == pytest.approx(1, abs=1e-5)


def test_the_prior_learns_which_codes_occur() -> None:
    network, images = network_of(), pictures()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    prior = train_prior(PixelCnn(width=12, blocks=1), network, images, seed(), updates=60, batch=16)
    assert not prior.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    with torch.no_grad():
        learned = prior.log_probability(network(images).codes).mean()
    uniform = -16 * math.log(SMALL.codes)
    assert learned > uniform + 5


def test_the_elbo_adds_the_prior_per_pixel_value() -> None:
    network, images = network_of(), pictures(5)
    with seeded(seed()):
        prior = PixelCnn(width=12, blocks=1).build(SMALL.codes)
    with torch.no_grad():
        found = ElboLogLikelihood(network, prior)(images)
        codes = network(images).codes
        expected = LogLikelihood(network)(images) + prior.log_probability(codes) / (3 * 16 * 16)
        by_place = -F.cross_entropy(prior(codes), codes, reduction="none").sum((1, 2))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(prior.log_probability(codes)[:, 0], by_place)


@pytest.mark.parametrize("elbo", [False, True], ids=["likelihood", "elbo"])
def test_the_exported_graph_says_the_same(elbo: bool) -> None:
    network = network_of()
    with seeded(seed()):
        prior = PixelCnn(width=12, blocks=1).build(SMALL.codes)
    module = ElboLogLikelihood(network, prior) if elbo else LogLikelihood(network)
    images = pictures(300).numpy()
    assert quality(network, pictures(300)).perplexity > 6
    exported = export_onnx(module, (3, 16, 16))
    found = exported(images)
    assert found.shape == (300, 1)
    np.testing.assert_allclose(found, TorchEncoder(module)(images), rtol=1e-4)
    single = [exported(images[k : k + 1]) for k in range(50)]
    np.testing.assert_allclose(np.concatenate(single), found[:50], rtol=1e-4)
    detector = LikelihoodDetector(exported, float(found.mean()), -1.0)
    np.testing.assert_array_equal(detector.features(images), found)
