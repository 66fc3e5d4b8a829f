"""A prior over the codes of a VQ-VAE, for the whole evidence lower bound (paper §VI-B leaves it open).

Source: van den Oord et al., "Pixel recurrent neural networks", 2016.
"""

from dataclasses import dataclass
from typing import Unpack

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn

from redhanded.lab.encoders.vqvae import Coded, Codes, LogLikelihood, VqVaeNetwork, train_by_updates
from redhanded.lab.models import seeded
from redhanded.lab.training import Watch
from redhanded.lab.types import Images
from redhanded.types import Float


@dataclass(frozen=True)
class PixelCnn:
    """A prior over code grids: masked convolutions with residual blocks, in raster order. Sizes are ours."""

    width: int = 64
    blocks: int = 6

    def build(self, codes: int) -> "PixelCnnNetwork":
        return PixelCnnNetwork(self, codes)


class _Causal(nn.Conv2d):
    """A convolution that sees only what comes before a place in raster order, and maybe the place itself."""

    mask: Tensor

    def __init__(self, width: int, size: int, *, itself: bool) -> None:
        super().__init__(width, width, size, padding=size // 2)
        before = torch.arange(size * size) < size * size // 2 + int(itself)
        self.register_buffer("mask", before.view(size, size).float())

    def forward(self, grid: Tensor) -> Tensor:
        return F.conv2d(grid, self.weight * self.mask, self.bias, padding=len(self.mask) // 2)


class PixelCnnNetwork(nn.Module):
    """Codes to the log-probability of each code at each place, given all before it."""

    def __init__(self, config: PixelCnn, codes: int) -> None:
        super().__init__()
        width = config.width
        self.embed = nn.Embedding(codes, width)
        self.first = _Causal(width, 7, itself=False)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.ReLU(), _Causal(width, 3, itself=True), nn.ReLU(), nn.Conv2d(width, width, 1))
            for _ in range(config.blocks)
        )
        self.head = nn.Sequential(nn.ReLU(), nn.Conv2d(width, codes, 1))

    def forward(self, codes: Codes) -> Float[Tensor, "n codes h w"]:
        grid = self.first(self.embed(codes).permute(0, 3, 1, 2))
        for block in self.blocks:
            grid = grid + block(grid)
        logits: Tensor = self.head(grid)
        return logits

    def log_probability(self, codes: Codes) -> Float[Tensor, "n 1"]:
        """Return log p of whole grids, in nats."""
        logits: Tensor = self(codes)
        return logits.log_softmax(1).gather(1, codes[:, None]).flatten(1).sum(1, keepdim=True)


class ElboLogLikelihood(nn.Module):
    """Images to log p(x|z) p(z) [n, 1], in nats per pixel value, up to a constant (paper §VI-B, not tried).

    The paper leaves the scale open. Here p(x|z) is normal with half the data variance, which makes its part
    per value l = -MSE / data variance as without a prior, so log p(z) is divided by the number of values too:
    -MSE / data variance + log p(codes) / (3 h w). Dropped is log(pi * data variance) / 2 per value.
    """

    def __init__(self, network: VqVaeNetwork, prior: PixelCnnNetwork) -> None:
        """Wrap a trained network and its prior, for evaluation; raises as `LogLikelihood`."""
        super().__init__()
        self.network = LogLikelihood(network).network
        self.prior = prior.eval()

    def forward(self, images: Images) -> Float[Tensor, "n 1"]:
        coded: Coded = self.network(images)
        values = images.shape[1:].numel()
        prior = self.prior.log_probability(coded.codes)
        return prior / values - coded.errors / self.network.data_variance


def train_prior(
    config: PixelCnn,
    network: VqVaeNetwork,
    images: Images,
    generator: torch.Generator,
    *,
    updates: int = 30_000,
    batch: int = 100,
    **watch: Unpack[Watch],
) -> PixelCnnNetwork:
    """Train the prior on the codes of images [n, 3, h, w]; the network stays as it is. Raises as `fit`.

    Updates, batch and rate are those of the paper's released, unused script.
    """
    device = network.data_variance.device
    network.eval()
    with torch.no_grad():
        batches = (images[at : at + 256].to(device) for at in range(0, len(images), 256))
        codes = torch.cat([network(part).codes for part in batches])
    with seeded(generator):
        prior = config.build(network.config.codes).to(device)

    def loss(places: Tensor) -> Tensor:
        chosen = codes[places]
        return F.cross_entropy(prior(chosen), chosen)

    train_by_updates(prior, len(codes), loss, generator, updates, batch, **watch)
    return prior
