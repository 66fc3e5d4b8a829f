"""JBA-BS: the point on the surrogate's boundary between a source and its adversarial example (§III-A3)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from redhanded.lab.attacks.perturb import Aim, Crafted, LinfPgd
from redhanded.lab.models import CIFAR10_STD
from redhanded.lab.types import Fidelity, Images
from redhanded.types import Bool, Int


@dataclass(frozen=True)
class BinarySearch:
    """Bisect between the source and its PGD example; the last midpoint is the query.

    A row stops when the surrogate calls its midpoint neither the source class nor the target, when its ends
    are nearer than `epsilon` in every pixel, or after `max_steps` midpoints. Where PGD missed the target
    there is nothing to search: the row has `failed` and is not sent.

    `corrected`: the source class is what the surrogate says to the source, distances are in pixels; where the
    surrogate already says the target no boundary is known to lie between the ends, and the row fails too.
    `released`: the source class is the oracle's label, so that a surrogate that disagrees with it may end the
    search at the first midpoint, or walk back to the source; distances are in `unit`s, the deviations of
    standardised images.
    """

    pgd: LinfPgd = LinfPgd()
    epsilon: float = 1e-6
    max_steps: int = 1000
    unit: tuple[float, float, float] = CIFAR10_STD
    fidelity: Fidelity = "corrected"

    version: ClassVar[int] = 2
    """2: further sources make up for rows that failed."""

    @torch.no_grad()
    def __call__(self, surrogate: nn.Module, aim: Aim, generator: torch.Generator) -> Crafted:
        """Return the last midpoint of each row, and the adversarial example itself of a row that failed."""
        with torch.enable_grad():
            crafted = self.pgd(surrogate, aim, generator).images
        reached = surrogate(crafted).argmax(1) == aim.targets
        classes = aim.labels
        if self.fidelity == "corrected":
            classes = surrogate(aim.sources).argmax(1)
            reached &= classes != aim.targets
        rows = reached.nonzero()[:, 0]
        crafted = crafted.clone()
        crafted[rows] = self._bisect(
            surrogate, aim.sources[rows], crafted[rows], classes[rows], aim.targets[rows]
        )
        return Crafted(crafted, ~reached, reached)

    def _bisect(
        self,
        surrogate: nn.Module,
        near: Images,
        far: Images,
        classes: Int[Tensor, " n"],
        targets: Int[Tensor, " n"],
    ) -> Images:
        """Return the last midpoint of each row; rows that stopped leave the batch."""
        out = near.clone()
        rows = torch.arange(len(near), device=near.device)
        for _ in range(self.max_steps):
            if len(rows) == 0:
                break
            middle = (near + far) / 2
            said = surrogate(middle).argmax(1)
            out[rows] = middle
            at_target, at_source = said == targets, said == classes
            far = torch.where(at_target.view(-1, 1, 1, 1), middle, far)
            near = torch.where((at_source & ~at_target).view(-1, 1, 1, 1), middle, near)
            going = (at_target | at_source) & ~self._met(near, far)
            rows, near, far, classes, targets = (
                part[going] for part in (rows, near, far, classes, targets)
            )  # one look at the device a step, of which there are about fifteen
        return out

    def _met(self, near: Images, far: Images) -> Bool[Tensor, " n"]:
        """Return whether the ends of each row are as near as they need to be."""
        gap = (near - far).abs()
        if self.fidelity == "released":
            gap = gap / torch.tensor(self.unit, dtype=gap.dtype, device=gap.device).view(1, 3, 1, 1)
        return gap.amax((1, 2, 3)) < self.epsilon
