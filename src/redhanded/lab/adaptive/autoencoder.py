"""The learned blinder (§VII-A): puts its noise where a classifier does not see it.

After the code of Chen et al. and the paper's port: no bottleneck, so rather a denoiser than an auto-encoder.
"""

import copy
from dataclasses import dataclass
from typing import Unpack

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn

from redhanded.lab.adaptive.blinding import standardised
from redhanded.lab.models import seeded
from redhanded.lab.training import Training, Watch, fit
from redhanded.lab.types import Fidelity, Images, Outputs
from redhanded.types import Float

WIDTHS = (16, 32, 64, 64, 64, 64, 32)
BATCH = 256
"""Images blinded at once; the network judges each on its own, so it changes nothing."""


@dataclass(frozen=True)
class Blinding:
    """How the auto-encoder is trained. Defaults: the released code and the 60 epochs of its script.

    `noise` is what it is given to hide, in pixels. `apart` (d) is the L2 distance up to which two blindings
    of one image are driven apart, `weight` (c) what its square counts beside the cross-entropy.

    `fidelity="released"` leaves the classifier in training mode, where its batch norm and dropout answer by
    the batch, and blinds standardised images, of which the network's clamp flattens what is below the mean.
    """

    noise: float = 0.095
    weight: float = 1.0
    apart: float = 10.0
    training: Training = Training(
        epochs=60, optimiser="adam", lr=1e-3, momentum=0.0, weight_decay=0.0, step_factor=1.0
    )
    fidelity: Fidelity = "corrected"


class Network(nn.Module):
    """Seven 3x3 convolutions, each with ReLU and then batch norm, and one to what is added to the image."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 6  # the image and its noisy copy
        for width in WIDTHS:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True), nn.BatchNorm2d(width)]
            channels = width
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, 3, 3, padding=1))

    def forward(self, images: Images, noise: Images) -> Images:
        """Return clamp(x + net(x, clamp(x + noise)), 0, 1) for images [n, 3, h, w]."""
        change: Tensor = self.layers(torch.cat([images, (images + noise).clamp(0, 1)], 1))
        return (images + change).clamp(0, 1)


@dataclass(frozen=True)
class AutoEncoder:
    network: Network
    config: Blinding = Blinding()

    @torch.no_grad()
    def __call__(self, images: Images, generator: torch.Generator) -> Images:
        """Return blinded copies of images [n, 3, h, w] in [0, 1], on their device.

        `released` returns values between the mean and a deviation above it.
        """
        self.network.eval()

        def change(given: Images) -> Images:
            blinded: Images = self.network(given, _noise(given, self.config.noise, generator))
            return blinded

        released = self.config.fidelity == "released"
        parts = torch.split(images, BATCH)
        return torch.cat([standardised(change, part) if released else change(part) for part in parts])


def blinding_loss(
    answers: Outputs,
    wanted: Outputs,
    pairs: list[tuple[Float[Tensor, "n ..."], Float[Tensor, "n ..."]]],
    weights: list[float],
    apart: float,
) -> Float[Tensor, ""]:
    """Return H(F(t(x)), softmax F(x)) - Σ weight · C over the pairs of two blindings of the same images.

    C is the square of the mean L2 distance of a pair's rows, which counts no further than `apart` (d).
    `answers` are the logits F(t(x)), `wanted` the logits F(x), through which no gradient passes. The pairs
    are the blindings themselves, and their features if an encoder is peeked at.
    """
    loss = F.cross_entropy(answers, wanted.detach().softmax(1))
    for (one, other), weight in zip(pairs, weights, strict=True):
        distance = torch.linalg.vector_norm((one - other).flatten(1), dim=1).mean()
        loss = loss - weight * distance.clamp(max=apart).square()
    return loss


def train_autoencoder(
    config: Blinding,
    images: Images,
    classifier: nn.Module,
    generator: torch.Generator,
    *,
    peek: nn.Module | None = None,
    **watch: Unpack[Watch],
) -> AutoEncoder:
    """Train a blinder on images [n, 3, h, w] in [0, 1], whose device it shares; raises as `fit` does.

    `classifier` is the thief's own. `peek` is an encoder whose features of two blindings are driven apart
    too: the released code takes the defender's, more than the threat model grants. Neither is altered.
    """
    with seeded(generator):
        network = Network().to(images.device)
    classifier = copy.deepcopy(classifier).requires_grad_(False)
    classifier.train(config.fidelity == "released")
    encoder = None if peek is None else copy.deepcopy(peek).requires_grad_(False).eval()

    def loss(model: nn.Module, places: Tensor, generator: torch.Generator) -> Tensor:
        batch = images[places]
        twice = torch.cat([batch, batch])
        blinded = model(twice, _noise(twice, config.noise, generator))
        pairs, weights = [tuple(blinded.chunk(2))], [config.weight]
        if encoder is not None:
            pairs.append(tuple(encoder(blinded).chunk(2)))
            weights.append(1.0)  # the released code weighs the images' distance alone
        with torch.no_grad():
            wanted = classifier(batch)
        return blinding_loss(classifier(pairs[0][0]), wanted, pairs, weights, config.apart)

    # no autocast: bf16 rounds pixels more coarsely than bytes do
    fit(network, len(images), loss, config.training, generator, autocast=False, **watch)
    return AutoEncoder(network, config)


def _noise(images: Images, scale: float, generator: torch.Generator) -> Images:
    return scale * torch.randn(images.shape, generator=generator).to(images.device)
