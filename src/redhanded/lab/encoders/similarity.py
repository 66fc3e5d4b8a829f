"""The similarity encoder (§VI-A): a classifier, then taught that slight changes do not matter."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Unpack

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn

from redhanded.lab.encoders.transforms import positive, pretraining_view
from redhanded.lab.models import SimNet, build
from redhanded.lab.training import Training, Watch, fit
from redhanded.lab.types import Images
from redhanded.types import Float, Int

Loss = Literal["per-pair", "released"]
View = Callable[[Images, torch.Generator], Images]
"""Changes each image in a way that should not move its features."""


@dataclass(frozen=True)
class Contrastive:
    """How the encoder is trained. Defaults are the released settings.

    `loss="per-pair"` is Equation 6: every triplet's squared distance to its negative is hinged on its own.
    `"released"` is what the code does: element-mean squared errors whose mean over the batch is hinged, so
    that the margin is √(10·256) ≈ 50.6 in L2 and one easy direction can satisfy it for the whole batch.
    """

    architecture: SimNet = SimNet()
    loss: Loss = "per-pair"
    margin_squared: float = 10.0
    pretraining: Training = Training(epochs=200, optimiser="adam", lr=1e-3, momentum=0.0, weight_decay=0.0)
    contrastive: Training = Training(epochs=30, batch=32, lr=1e-4, nesterov=True, weight_decay=1e-4)


def contrastive_loss(
    anchors: Float[Tensor, "n d"],
    positives: Float[Tensor, "n d"],
    negatives: Float[Tensor, "n d"],
    loss: Loss,
    margin_squared: float,
) -> Float[Tensor, ""]:
    """Equation 6, per pair or as released."""
    if loss == "released":
        apart = F.mse_loss(anchors, negatives)
        return F.mse_loss(anchors, positives) + (margin_squared - apart).clamp(min=0)
    near = (anchors - positives).square().sum(1)
    apart = (anchors - negatives).square().sum(1)
    return (near + (margin_squared - apart).clamp(min=0)).mean()


def pretrain(
    images: Images,
    labels: Int[Tensor, " n"],
    architecture: SimNet,
    training: Training,
    generator: torch.Generator,
    **watch: Unpack[Watch],
) -> nn.Sequential:
    """Train the encoder as a classifier on strongly augmented images; return it without its head.

    Images [n, 3, 32, 32] in [0, 1]; raises as `fit` does.
    """
    model = build(architecture, int(labels.max()) + 1, generator, images.device)
    assert isinstance(model, nn.Sequential)

    def classify(model: nn.Module, places: Tensor, generator: torch.Generator) -> Tensor:
        return F.cross_entropy(model(pretraining_view(images[places], generator)).float(), labels[places])

    fit(model, len(images), classify, training, generator, **watch)
    trunk = model[0]
    assert isinstance(trunk, nn.Sequential)
    return trunk


def contrast(
    encoder: nn.Module,
    images: Images,
    config: Contrastive,
    generator: torch.Generator,
    *,
    view: View = positive,
    **watch: Unpack[Watch],
) -> None:
    """Teach a pre-trained encoder, in place, that slight changes do not matter; raises as `fit` does.

    `view` makes the positives: what should lie near. Anchors are plain images and negatives other anchors of
    the same batch: a random other image, as in the released code, without a third pass through the encoder.
    """

    def loss(model: nn.Module, places: Tensor, generator: torch.Generator) -> Tensor:
        batch = images[places]
        features = model(torch.cat([batch, view(batch, generator)])).float()
        anchors, positives = features[: len(batch)], features[len(batch) :]
        turn = int(torch.randint(1, max(2, len(batch)), (), generator=generator))
        return contrastive_loss(anchors, positives, anchors.roll(turn, 0), config.loss, config.margin_squared)

    # no autocast: bf16 rounds features by about as much as the distances to be learned
    fit(encoder, len(images), loss, config.contrastive, generator, autocast=False, **watch)
