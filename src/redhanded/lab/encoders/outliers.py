"""A classifier of the victim's distribution against others, for the out-of-distribution detector."""

from typing import Unpack

import torch
from torch import Tensor, nn

from redhanded.lab.models import Architecture, build
from redhanded.lab.training import Training, Watch, train_classifier
from redhanded.lab.types import Images
from redhanded.types import Float


class LogOdds(nn.Module):
    """Images [n, c, h, w] in [0, 1] to the log-odds [n, 1] that they are in-distribution."""

    def __init__(self, classifier: nn.Module) -> None:  # of two classes: out, in
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Images) -> Float[Tensor, "n 1"]:
        logits: Tensor = self.classifier(images)
        return logits[:, 1:2] - logits[:, 0:1]


def train_outlier_classifier(
    architecture: Architecture,
    inside: Images,
    outside: Float[Tensor, "m c h w"],
    training: Training,
    generator: torch.Generator,
    **watch: Unpack[Watch],
) -> LogOdds:
    """Train on images of the victim's distribution and on others; raises as `fit` does."""
    model = build(architecture, 2, generator, inside.device)
    places = torch.arange(len(inside) + len(outside), device=inside.device) < len(inside)
    labels = nn.functional.one_hot(places.long(), 2).float()
    train_classifier(model, torch.cat([inside, outside]), labels, training, generator, **watch)
    return LogOdds(model)
