"""How a source image is pushed towards a class by the surrogate's gradient (Algorithm 2 and its kin)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, runtime_checkable

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn

from redhanded.lab.models import CIFAR10_STD
from redhanded.lab.types import Fidelity, Images
from redhanded.types import Bool, Int


class Aim(NamedTuple):
    """What is to be crafted, a row a query."""

    sources: Images
    labels: Int[Tensor, " n"]
    """The class the oracle gave each source."""
    targets: Int[Tensor, " n"]
    """The class to push it towards; -1: away from its own."""
    known: Images
    """The transfer set so far, for what needs a guide."""
    known_labels: Int[Tensor, " m"]


class Crafted(NamedTuple):
    """What came of an aim. Images lie in [0, 1] but where a released variant lets them leave it."""

    images: Images
    failed: Bool[Tensor, " n"]
    """Which did not reach what they aimed at, for perturbations that promise to."""
    keep: Bool[Tensor, " n"]
    """Which are to be sent."""

    @classmethod
    def whole(cls, images: Images) -> "Crafted":
        """All of them, for a perturbation that promises nothing."""
        no = torch.zeros(len(images), dtype=torch.bool, device=images.device)
        return cls(images, no, ~no)


@runtime_checkable
class Perturbation(Protocol):
    """A crafting step as a value; each row depends on its own row of the aim, whatever else is crafted."""

    def __call__(self, surrogate: nn.Module, aim: Aim, generator: torch.Generator) -> Crafted: ...


@runtime_checkable
class Reversible(Perturbation, Protocol):
    """A perturbation whose step can be turned around."""

    def reversed(self) -> Perturbation:
        """Return the same with the opposite step."""


def cross_entropy(surrogate: nn.Module, classes: Int[Tensor, " n"]) -> Callable[[Images], Tensor]:
    return lambda images: F.cross_entropy(surrogate(images), classes, reduction="sum")


def ball(sources: Images, epsilon: float) -> tuple[Images, Images]:
    """Return the lowest and highest images of the L∞ ball around each source, within [0, 1]."""
    return (sources - epsilon).clamp(0, 1), (sources + epsilon).clamp(0, 1)


def signed_descent(
    loss: Callable[[Images], Tensor],
    start: Images,
    step: float | Tensor,
    steps: int,
    low: Images,
    high: Images,
) -> Images:
    """Take signed steps down the summed loss, each projected between `low` and `high`."""
    point = start
    for _ in range(steps):
        point = point.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(point).sum(), point)
        point = (point.detach() - step * gradient.sign()).clamp(low, high)
    return point.detach()


@dataclass(frozen=True)
class LogitAscent:
    """JB-top3's step: climb the raw logit of the target by signed steps (F_A's, at the current point).

    `step` and `epsilon` are in units of the channels' standard deviations, as in the released code, which
    crafts standardised images: 8 steps of 0.01 within 0.1, so epsilon never binds. `corrected` keeps every
    iterate an image; `released` climbs without bounds, trains on that, and is cut to [0, 1] when sent, the
    least an interface that takes images demands.
    """

    steps: int = 8
    step: float = 0.01
    epsilon: float = 0.1
    unit: tuple[float, float, float] = CIFAR10_STD
    fidelity: Fidelity = "corrected"

    def __call__(self, surrogate: nn.Module, aim: Aim, generator: torch.Generator) -> Crafted:
        """Climb the target's logit, or the source's own where there is none; `generator` is not needed."""
        del generator
        sources, targets = aim.sources, torch.where(aim.targets < 0, aim.labels, aim.targets)
        unit = torch.tensor(self.unit, dtype=sources.dtype, device=sources.device).view(1, 3, 1, 1)
        change = torch.zeros_like(sources)
        for _ in range(self.steps):
            point = (sources + change).requires_grad_()
            logits = surrogate(point).gather(1, targets[:, None])
            (gradient,) = torch.autograd.grad(logits.sum(), point)
            change = (change + self.step * unit * gradient.sign()).clamp(
                -self.epsilon * unit, self.epsilon * unit
            )
            if self.fidelity == "corrected":
                change = (sources + change).clamp(0, 1) - sources
        crafted = (sources + change).clamp(0, 1) if self.fidelity == "corrected" else sources + change
        return Crafted.whole(crafted)

    def reversed(self) -> "LogitAscent":
        """Return the same with the opposite step: down the logit."""
        return replace(self, step=-self.step)


@dataclass(frozen=True)
class SignedSteps:
    """PRADA's FGSM family: `steps` signed steps of the cross-entropy's gradient, ε / steps each.

    ε is in pixels, or in `unit`s of them per channel.
    Towards the target where there is one (T-RND), away from the oracle's label where there is none (N-FGSM);
    with k = 11 steps it is I-FGSM. Every iterate is an image.
    """

    epsilon: float = 64 / 255
    steps: int = 1
    unit: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __call__(self, surrogate: nn.Module, aim: Aim, generator: torch.Generator) -> Crafted:
        """Return the last iterate; draws nothing from `generator`."""
        del generator
        unit = torch.tensor(self.unit, dtype=aim.sources.dtype, device=aim.sources.device).view(1, 3, 1, 1)
        towards = (aim.targets >= 0).to(aim.sources.dtype).view(-1, 1, 1, 1) * 2 - 1
        step = towards * unit * self.epsilon / self.steps
        classes = torch.where(aim.targets < 0, aim.labels, aim.targets)
        low, high = torch.zeros_like(aim.sources), torch.ones_like(aim.sources)
        loss = cross_entropy(surrogate, classes)
        return Crafted.whole(signed_descent(loss, aim.sources, step, self.steps, low, high))


@dataclass(frozen=True)
class LinfPgd:
    """Targeted L∞ PGD with Foolbox's defaults (§IV-A): 40 steps of ε/30 from a random start, final iterate.

    ε is in pixels of [0, 1]; the loss is the cross-entropy to the target; every iterate is projected into
    the ball and into [0, 1]. Returned whether or not it succeeded.
    """

    epsilon: float = 8 / 256
    steps: int = 40
    relative_step: float = 0.01 / 0.3
    random_start: bool = True

    def start(self, sources: Images, generator: torch.Generator) -> Images:
        """Return the starting point: the sources, or a uniform draw from their ball."""
        if not self.random_start:
            return sources
        noise = torch.rand(sources.shape, generator=generator, dtype=sources.dtype) * 2 - 1
        return (sources + self.epsilon * noise.to(sources.device)).clamp(0, 1)

    def __call__(self, surrogate: nn.Module, aim: Aim, generator: torch.Generator) -> Crafted:
        start = self.start(aim.sources, generator)
        return Crafted.whole(self.descend(surrogate, aim.sources, start, aim.targets))

    def descend(
        self,
        surrogate: nn.Module,
        sources: Images,
        start: Images,
        classes: Int[Tensor, " n"],
        *,
        away: bool = False,
    ) -> Images:
        """Run the steps from a given start: towards these classes, or `away` from them (untargeted)."""
        step = (-1 if away else 1) * self.epsilon * self.relative_step
        loss = cross_entropy(surrogate, classes)
        return signed_descent(loss, start, step, self.steps, *ball(sources, self.epsilon))
