"""How a source image is pushed towards a class by the surrogate's gradient (Algorithm 2 and its kin)."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn

from redhanded.lab.models import CIFAR10_STD
from redhanded.lab.types import Fidelity, Images
from redhanded.types import Int


@runtime_checkable
class Perturbation(Protocol):
    """A crafting step as a value: sources and target classes in, perturbed images out.

    They lie in [0, 1] but for those that a released variant lets leave it; what is sent is cut to [0, 1].
    """

    def __call__(
        self, surrogate: nn.Module, sources: Images, targets: Int[Tensor, " n"], generator: torch.Generator
    ) -> Images: ...


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

    def __call__(
        self, surrogate: nn.Module, sources: Images, targets: Int[Tensor, " n"], generator: torch.Generator
    ) -> Images:
        """Return images of the same shape; nothing is drawn from `generator`."""
        del generator
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
        return (sources + change).clamp(0, 1) if self.fidelity == "corrected" else sources + change


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

    def __call__(
        self, surrogate: nn.Module, sources: Images, targets: Int[Tensor, " n"], generator: torch.Generator
    ) -> Images:
        """Return images of the same shape."""
        return self.descend(surrogate, sources, self.start(sources, generator), targets)

    def descend(
        self, surrogate: nn.Module, sources: Images, start: Images, targets: Int[Tensor, " n"]
    ) -> Images:
        """Run the steps from a given start."""
        point = start
        low, high = sources - self.epsilon, sources + self.epsilon
        for _ in range(self.steps):
            point = point.detach().requires_grad_()
            loss = F.cross_entropy(surrogate(point), targets, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, point)
            point = point.detach() - self.epsilon * self.relative_step * gradient.sign()
            point = torch.minimum(torch.maximum(point, low), high).clamp(0, 1)
        return point.detach()
