"""The VQ-VAE whose reconstruction error is an image's likelihood (paper §VI-B).

Source: van den Oord et al., "Neural discrete representation learning", 2017, as in Zalando Research's
pytorch-vq-vae, which the paper trains (§VIII-B).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Unpack

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn

from redhanded.errors import RedhandedError
from redhanded.lab.models import Normalise, seeded
from redhanded.lab.training import Training, Watch, fit
from redhanded.lab.types import Images
from redhanded.types import Float, Int

Codes = Int[Tensor, "n h w"]


@dataclass(frozen=True)
class VqVae:
    """The auto-encoder as a value. Defaults are the reference implementation's.

    `normalisation="centre"` takes 0.5 from every pixel (the reference); `"cifar10"` standardises channels
    (the paper's released code), which multiplies squared errors by about 25. `data_variance` is the variance
    of the training pixels in [0, 1], over all channels; None lets `train_vqvae` measure it.
    """

    width: int = 128
    residual_hidden: int = 32
    residual_blocks: int = 2
    codes: int = 512
    dimension: int = 64
    decay: float = 0.99
    epsilon: float = 1e-5
    commitment: float = 0.25
    normalisation: Literal["centre", "cifar10"] = "centre"
    data_variance: float | None = None

    def build(self) -> "VqVaeNetwork":
        return VqVaeNetwork(self)


class Coded(NamedTuple):
    target: Images
    """The normalised images, which the decoder aims at."""
    reconstruction: Images
    codes: Codes
    commitment: Float[Tensor, ""]
    """Mean squared distance of the latents to their codes."""

    @property
    def errors(self) -> Float[Tensor, "n 1"]:
        """Mean squared error of each image, in normalised units."""
        return (self.reconstruction - self.target).square().flatten(1).mean(1, keepdim=True)


class Codebook(nn.Module):
    """The nearest of K vectors, which follow the latents by exponential moving averages (its appendix A.1).

    As in the reference, averages start from nothing and their sums from noise, so codes that nobody uses
    first fly off and fall back after about a thousand updates; fewer updates use fewer codes.
    """

    vectors: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, codes: int, dimension: int, decay: float, epsilon: float) -> None:
        """Draw standard normal vectors; they are buffers, as no gradient moves them."""
        super().__init__()
        self.decay, self.epsilon = decay, epsilon
        self.register_buffer("vectors", torch.randn(codes, dimension))
        self.register_buffer("counts", torch.zeros(codes))
        self.register_buffer("sums", torch.randn(codes, dimension))

    def forward(
        self, latents: Float[Tensor, "n d h w"]
    ) -> tuple[Float[Tensor, "n d h w"], Codes, Float[Tensor, ""]]:
        """Return the quantised latents, whose gradient passes straight through, codes and commitment loss."""
        codes = self.nearest(latents.detach())
        quantised = F.embedding(codes, self.vectors).permute(0, 3, 1, 2)
        if self.training:
            self.follow(latents.detach(), codes)
        return latents + (quantised - latents).detach(), codes, F.mse_loss(latents, quantised)

    def nearest(self, latents: Float[Tensor, "n d h w"]) -> Codes:
        """Return the place of each latent's nearest vector.

        Squared distances, less the latent's own square, are a convolution: computed image by image in PyTorch
        and ONNX Runtime, yet a latent halfway between two codes may be rounded to either.
        """
        squares = self.vectors.square().sum(1)
        return F.conv2d(latents, -2 * self.vectors[:, :, None, None], squares).argmin(1)

    @torch.no_grad()
    def follow(self, latents: Float[Tensor, "n d h w"], codes: Codes) -> None:
        """Move each vector towards the mean of its latents; counts are smoothed (Laplace) and kept so."""
        chosen = F.one_hot(codes.flatten(), len(self.vectors)).to(latents.dtype)
        flat = latents.permute(0, 2, 3, 1).flatten(0, 2)
        counts = self.counts * self.decay + (1 - self.decay) * chosen.sum(0)
        of = counts.sum()
        self.counts.copy_((counts + self.epsilon) / (of + len(counts) * self.epsilon) * of)
        self.sums.mul_(self.decay).add_(chosen.T @ flat, alpha=1 - self.decay)
        self.vectors.copy_(self.sums / self.counts[:, None])


class _Residual(nn.Module):
    """The reference applies its first ReLU in place: the shortcut carries the rectified input, too."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(width, hidden, 3, padding=1, bias=False),
            nn.ReLU(),
            nn.Conv2d(hidden, width, 1, bias=False),
        )

    def forward(self, images: Tensor) -> Tensor:
        rectified = images.relu()
        inner: Tensor = self.inner(rectified)
        return rectified + inner


class VqVaeNetwork(nn.Module):
    """Images [n, 3, h, w] in [0, 1], sides multiples of 4, to codes [n, h/4, w/4] and back."""

    data_variance: Tensor

    def __init__(self, config: VqVae) -> None:
        super().__init__()
        self.config = config
        half, width = config.width // 2, config.width
        variance = float("nan") if config.data_variance is None else config.data_variance
        # it travels with the weights, and is NaN as long as it is unknown
        self.register_buffer("data_variance", torch.tensor(variance))
        centre = ((0.5, 0.5, 0.5), (1.0, 1.0, 1.0))
        self.normalise = Normalise(*centre) if config.normalisation == "centre" else Normalise()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, half, 4, 2, padding=1),
            nn.ReLU(),
            nn.Conv2d(half, width, 4, 2, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            *(_Residual(width, config.residual_hidden) for _ in range(config.residual_blocks)),
            nn.ReLU(),
            nn.Conv2d(width, config.dimension, 1),
        )
        self.codebook = Codebook(config.codes, config.dimension, config.decay, config.epsilon)
        self.decoder = nn.Sequential(
            nn.Conv2d(config.dimension, width, 3, padding=1),
            *(_Residual(width, config.residual_hidden) for _ in range(config.residual_blocks)),
            nn.ReLU(),
            nn.ConvTranspose2d(width, half, 4, 2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(half, 3, 4, 2, padding=1),
        )

    def forward(self, images: Images) -> Coded:
        target = self.normalise(images)
        quantised, codes, commitment = self.codebook(self.encoder(target))
        return Coded(target, self.decoder(quantised), codes, commitment)

    def loss(self, coded: Coded) -> Float[Tensor, ""]:
        """Mean squared error over the variance of the data, and the commitment loss."""
        return coded.errors.mean() / self.data_variance + self.config.commitment * coded.commitment


class LogLikelihood(nn.Module):
    """Images to l = -MSE / data variance [n, 1]: the detector's encoder, without a prior (paper §VI-B)."""

    def __init__(self, network: VqVaeNetwork) -> None:
        """Wrap a trained network, for evaluation; raises `RedhandedError` if its variance is unknown."""
        super().__init__()
        if not float(network.data_variance) > 0:
            raise RedhandedError(
                f"data_variance: {float(network.data_variance)} is not positive; train the network, or give "
                "the variance of its training pixels"
            )
        self.network = network.eval()

    def forward(self, images: Images) -> Float[Tensor, "n 1"]:
        coded: Coded = self.network(images)
        return -coded.errors / self.network.data_variance


def train_vqvae(
    config: VqVae,
    images: Images,
    generator: torch.Generator,
    *,
    updates: int = 15_000,
    batch: int = 256,
    device: torch.device | str = "cpu",
    **watch: Unpack[Watch],
) -> VqVaeNetwork:
    """Train on images [n, 3, h, w] in [0, 1] by Adam at 1e-3, a fresh random batch at every update.

    Raises `RedhandedError` if the images are all of one colour, so that their variance is 0, else as `fit`.
    """
    if config.data_variance is None:
        within, means = torch.var_mean(images.flatten(1), 1, correction=0)
        variance = within.double().mean() + means.double().var(correction=0)
        config = replace(config, data_variance=float(variance))
    if not config.data_variance:
        raise RedhandedError("images: all pixels are alike, so nothing can be learned; give other images")
    with seeded(generator):
        network = config.build().to(device)
    images = images.to(device)

    def loss(places: Tensor) -> Tensor:
        return network.loss(network(images[places]))

    train_by_updates(network, len(images), loss, generator, updates, batch, **watch)
    return network


class Quality(NamedTuple):
    """How well a network reconstructs images that it was not trained on."""

    mse: float
    """In normalised units; over the data variance it is minus the mean log-likelihood."""
    perplexity: float
    """Exponential of the entropy of the codes' frequencies: how many are in use, as if equally often."""


@torch.no_grad()
def quality(network: VqVaeNetwork, images: Images, batch: int = 256) -> Quality:
    """Measure on images [n, 3, h, w] in [0, 1] on the network's device."""
    network.eval()
    parts = [network(images[at : at + batch]) for at in range(0, len(images), batch)]
    codes = torch.cat([part.codes for part in parts]).flatten()
    shares = codes.bincount().double() / len(codes)
    entropy = torch.special.entr(shares).sum()
    return Quality(float(torch.cat([part.errors for part in parts]).double().mean()), float(entropy.exp()))


def train_by_updates(
    model: nn.Module,
    rows: int,
    loss: Callable[[Tensor], Tensor],
    generator: torch.Generator,
    updates: int,
    batch: int,
    **watch: Unpack[Watch],
) -> None:
    """Give `loss` the places of a fresh random batch at every update; Adam at 1e-3, constant."""

    def batch_loss(_: nn.Module, __: Tensor, generator: torch.Generator) -> Tensor:
        return loss(torch.randperm(rows, generator=generator)[:batch])

    # one epoch of as many steps as updates: the reference draws anew instead of going through the data
    once = Training(epochs=1, batch=1, optimiser="adam", lr=1e-3, momentum=0.0, weight_decay=0.0)
    fit(model, updates, batch_loss, once, generator, autocast=False, **watch)
