"""Adaptive Misinformation: mislead whoever asks about unfamiliar images (Kariyappa and Qureshi, §V-B)."""

from dataclasses import dataclass
from typing import NamedTuple, Unpack

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn

from redhanded.lab.defences.outliers import DEFENDER, Outliers, check_outliers, exposed
from redhanded.lab.training import Training, Watch, fit
from redhanded.lab.types import Images, NewModel, Oracle, Outputs


@dataclass(frozen=True)
class AdaptiveMisinformation:
    """(1 - a) f + a f^, where a = sigmoid(nu (tau - max f)): the misleading f^ answers where f is unsure.

    It can change the argmax, so hard labels meet it too. `tau` has no default as it belongs to a model: 0.99
    in the released code's MNIST example, 0.25 in ModelGuard's.
    """

    oracle: Oracle
    """f: probabilities."""
    misleading: Oracle
    """f^: probabilities."""
    tau: float
    """Confidence of f below which it is replaced."""
    nu: float = 1e4
    """Steepness; the released code's, in effect a step."""

    def __call__(self, images: Images) -> Outputs:
        honest, misleading = self.oracle(images), self.misleading(images)
        # torch's sigmoid saturates, where the released 1 / (1 + exp(-x)) overflows
        share = (self.nu * (self.tau - honest.amax(1, keepdim=True))).sigmoid()
        return (1 - share) * honest + share * misleading


class Misinformed(NamedTuple):
    """The two models, in evaluation mode."""

    honest: nn.Module
    misleading: nn.Module


def train_misinformation(
    new_model: NewModel,
    images: Images,
    labels: Outputs,
    outliers: Outliers,
    generator: torch.Generator,
    *,
    exposure: float = 1.0,
    config: Training = DEFENDER,
    **watch: Unpack[Watch],
) -> Misinformed:
    """Train f and f^ side by side on images [n, c, h, w], labels [n, classes] and outliers [m, c, h, w].

    f minimises cross-entropy plus `exposure` (the README's lambda; the command line's default of 0 is no
    defence) times the cross-entropy of the uniform answer on outliers. f^ minimises -log(1 - p) of the right
    class on images, and of the class that f predicts on outliers. No gradient passes between the two, so one
    optimiser does what the released code's two do. Raises `RedhandedError` without outliers, else as `fit`.
    """
    check_outliers(outliers)
    honest, misleading = new_model(), new_model()

    def loss(both: nn.Module, places: Tensor, generator: torch.Generator) -> Tensor:
        del both
        batch = exposed(images, outliers, places, config, generator)
        known, unknown = torch.chunk(honest(batch).float(), 2)
        right = F.cross_entropy(known, labels[places])
        from_uniform = -unknown.log_softmax(1).mean()
        predicted = F.one_hot(unknown.argmax(1), unknown.shape[1]).to(labels.dtype)
        avoided = torch.cat([labels[places], predicted])
        # kept finite as in the released code
        spared: Tensor = (1 - misleading(batch).float().softmax(1) + 1e-7).log()
        return right + exposure * from_uniform - (avoided * spared).sum(1).mean()

    both = nn.ModuleList([honest, misleading])
    fit(both, len(images), loss, config, generator, **watch)
    return Misinformed(honest, misleading)
