"""Perturbations in feature space: FeatureFool (CloudLeak, §III-A2) and Feature Adversary."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from scipy.optimize import Bounds, minimize
from torch import Tensor, nn

from redhanded.errors import RedhandedError
from redhanded.lab.attacks.perturb import Aim, Crafted, LinfPgd, ball, signed_descent
from redhanded.lab.models import CIFAR10_STD
from redhanded.lab.types import Fidelity, Images
from redhanded.types import Float

Flat = np.ndarray[tuple[int], np.dtype[np.float64]]
Features = Float[Tensor, "n d"]
EVERY = slice(None)


@runtime_checkable
class Loss(Protocol):
    """A loss for each image, which are those of these rows."""

    def __call__(self, images: Images, rows: slice = EVERY) -> Float[Tensor, " n"]: ...


def penultimate(model: nn.Module) -> Callable[[Images], Features]:
    """Return φ: images to what the model's last linear layer (the last it registered) is given.

    Raises:
        RedhandedError: the model has no linear layer.
    """
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise RedhandedError("surrogate: feature attacks need a final nn.Linear; give a model that has one")

    def features(images: Images) -> Features:
        seen: list[Tensor] = []
        hook = linear[-1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].flatten(1)))
        try:
            model(images)
        finally:
            hook.remove()
        return seen[-1]

    return features


def natural_guides(surrogate: nn.Module, aim: Aim, pgd: LinfPgd, generator: torch.Generator) -> Images:
    """Draw, for each row, an image of the transfer set that the oracle gave the row's target class.

    A row whose target class the oracle has given to nothing yet is guided by `pgd`'s example of its own
    source. What is drawn from `generator` is the same for all classes.
    """
    drawn = torch.rand(len(aim.targets), generator=generator, dtype=torch.float64).to(aim.targets.device)
    start = pgd.start(aim.sources, generator)
    order = aim.known_labels.argsort(stable=True)
    ranked, targets = aim.known_labels[order].contiguous(), aim.targets.contiguous()
    first = torch.searchsorted(ranked, targets)
    count = torch.searchsorted(ranked, targets, right=True) - first
    guides = aim.known[order[(first + (drawn * count).long()).clamp(max=len(ranked) - 1)]]
    without = (count == 0).nonzero()[:, 0]
    if len(without) > 0:
        guides[without] = pgd.descend(surrogate, aim.sources[without], start[without], targets[without])
    return guides


@dataclass(frozen=True)
class FeatureFool:
    """CloudLeak's FeatureFool: stay near the source, but have features nearer to a guide of the target class.

    Minimises ‖x' - x‖² + λ·max(M + ‖φ(x') - φ(guide)‖ - ‖φ(x') - φ(x)‖, 0) over images x' (Equation 1; its
    printed triplet has the guide and the source swapped, and would attract x' to its source). φ is the input
    of the surrogate's last linear layer, and M = `margin` - the mean distance between the features of images
    of the source's class, of which at most `intra_class` known ones are drawn.

    `optimiser="lbfgs"` is the paper's: L-BFGS-B in [0, 1]. No number of iterations is published; 10 is that
    of CloudLeak's code for Feature Adversary. `"sign"` is the released code's: `sign_steps` signed steps of
    `sign_step` deviations of a channel, with the plain distance in place of its square.

    `corrected`: the guide is an image of the transfer set to which the oracle gave the target class (where
    there is none yet, as in `released`). `released`: it is a PGD example of the same source, and M is taken
    over known images of all classes, not of one. Distances inside M are not squared, as in the released code;
    the paper squares those, and not the ones M is compared with, by which the triplet is nearly always zero.
    """

    weight: float = 1.0
    margin: float = 0.5
    optimiser: Literal["lbfgs", "sign"] = "lbfgs"
    iterations: int = 10
    sign_steps: int = 100
    sign_step: float = 1e-4
    intra_class: int = 32
    pgd: LinfPgd = LinfPgd()
    unit: tuple[float, float, float] = CIFAR10_STD
    fidelity: Fidelity = "corrected"

    def __call__(self, surrogate: nn.Module, aim: Aim, generator: torch.Generator) -> Crafted:
        """Return the minimisers; guides, PGD's starts and the members of M are drawn from `generator`."""
        phi = penultimate(surrogate)
        if self.fidelity == "corrected":
            guides = natural_guides(surrogate, aim, self.pgd, generator)
        else:
            guides = self.pgd(surrogate, aim, generator).images
        with torch.no_grad():
            ours, theirs = phi(aim.sources), phi(guides)
            margins = self._margins(phi, aim, generator)

        def triplet(images: Images, rows: slice = EVERY) -> Float[Tensor, " n"]:
            now = phi(images)
            apart = margins[rows] + distance(now, theirs[rows]) - distance(now, ours[rows])
            return self.weight * apart.clamp(min=0)

        low, high = torch.zeros_like(aim.sources), torch.ones_like(aim.sources)
        if self.optimiser == "sign":
            return Crafted.whole(self._signed(aim.sources, triplet, low, high))

        def loss(images: Images, rows: slice = EVERY) -> Float[Tensor, " n"]:
            moved = (images - aim.sources[rows]).square().sum((1, 2, 3))
            return moved + triplet(images, rows)

        return Crafted.whole(lbfgs(loss, aim.sources, low, high, self.iterations))

    def _margins(
        self, phi: Callable[[Images], Features], aim: Aim, generator: torch.Generator
    ) -> Float[Tensor, " n"]:
        """Return M for each row; no pair of known images of a class, no distance to take off."""
        classes = torch.zeros_like(aim.labels) if self.fidelity == "released" else aim.labels
        known = torch.zeros_like(aim.known_labels) if self.fidelity == "released" else aim.known_labels
        margins = aim.sources.new_full((len(classes),), self.margin)
        order = torch.randperm(len(known), generator=generator).to(known.device)
        for one in torch.unique(classes):
            members = order[known[order] == one][: self.intra_class]
            if len(members) > 1:
                margins[classes == one] -= torch.pdist(phi(aim.known[members])).mean()
        return margins

    def _signed(self, sources: Images, triplet: Loss, low: Images, high: Images) -> Images:
        """Descend by signed steps; a row's distance is its own, not its batch's as in the released code."""
        unit = torch.tensor(self.unit, dtype=sources.dtype, device=sources.device).view(1, 3, 1, 1)

        def loss(images: Images) -> Float[Tensor, " n"]:
            moved: Tensor = (images - sources).flatten(1).norm(dim=1)
            return moved + triplet(images)

        return signed_descent(loss, sources, self.sign_step * unit, self.sign_steps, low, high)


@dataclass(frozen=True)
class FeatureAdversary:
    """Sabour et al.'s adversary: the image within `epsilon` of its source whose features are the guide's.

    Minimises ‖φ(x') - φ(guide)‖² by L-BFGS-B, 10 iterations (CloudLeak's code). The guide is an image of the
    transfer set to which the oracle gave the target class; where there is none, a PGD example of the source.
    """

    epsilon: float = 10 / 255
    iterations: int = 10
    pgd: LinfPgd = LinfPgd()

    def __call__(self, surrogate: nn.Module, aim: Aim, generator: torch.Generator) -> Crafted:
        """Return the minimisers; guides and PGD's starts are drawn from `generator`."""
        loss = guided(surrogate, aim, self.pgd, generator)
        return Crafted.whole(lbfgs(loss, aim.sources, *ball(aim.sources, self.epsilon), self.iterations))


@dataclass(frozen=True)
class FastFeatureAdversary:
    """CleverHans's fast version: signed steps in an L∞ ball from a random start, the same distance."""

    epsilon: float = 0.3
    step: float = 0.05
    steps: int = 10
    pgd: LinfPgd = LinfPgd()

    def __call__(self, surrogate: nn.Module, aim: Aim, generator: torch.Generator) -> Crafted:
        """Return the final iterates; guides and starts are drawn from `generator`."""
        loss = guided(surrogate, aim, self.pgd, generator)
        start = LinfPgd(self.epsilon).start(aim.sources, generator)
        box = ball(aim.sources, self.epsilon)
        return Crafted.whole(signed_descent(loss, start, self.step, self.steps, *box))


def guided(surrogate: nn.Module, aim: Aim, pgd: LinfPgd, generator: torch.Generator) -> Loss:
    """Draw guides; return the squared distance of each image's features from those of its guide."""
    phi = penultimate(surrogate)
    guides = natural_guides(surrogate, aim, pgd, generator)
    with torch.no_grad():
        theirs = phi(guides)
    return lambda images, rows=EVERY: (phi(images) - theirs[rows]).square().sum(1)


def distance(one: Features, other: Features) -> Float[Tensor, " n"]:
    """Return L2 distances, softened: at the source itself a plain norm's gradient would be rounding noise."""
    return ((one - other).square().sum(1) + 1e-8).sqrt()


def lbfgs(loss: Loss, sources: Images, low: Images, high: Images, iterations: int) -> Images:
    """Minimise the loss between `low` and `high`, from the sources, with SciPy's L-BFGS-B.

    Stops as CloudLeak's code does (factr 1e7, pgtol 1e-5). Image by image, since the line search of a batch
    would let its images depend on each other.
    """

    def evaluate(flat: Flat, row: int) -> tuple[float, Flat]:
        image = torch.from_numpy(flat).to(sources).view(1, *sources.shape[1:]).requires_grad_()
        value = loss(image, slice(row, row + 1)).sum()
        (gradient,) = torch.autograd.grad(value, image)
        return value.item(), flattened(gradient)

    out = sources.clone()
    for row, (start, bottom, top) in enumerate(zip(sources, low, high, strict=True)):
        found = minimize(
            evaluate,
            flattened(start),
            args=(row,),
            method="L-BFGS-B",
            jac=True,
            bounds=Bounds(flattened(bottom), flattened(top)),
            options={"maxiter": iterations, "ftol": 1e7 * sys.float_info.epsilon, "gtol": 1e-5},
        )
        out[row] = torch.from_numpy(found.x).to(sources).view(start.shape)
    return out  # rounded to the sources' precision, in which the box is given, it stays in the box


def flattened(image: Tensor) -> Flat:
    """Return the tensor as the flat float64 array that SciPy works on."""
    return image.detach().cpu().double().flatten().numpy()
