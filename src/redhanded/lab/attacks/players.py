"""Who plays data-free extraction's game, and by what they learn."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from redhanded.lab.attacks.generator import ImageGenerator, moved
from redhanded.lab.attacks.resume import Parts
from redhanded.types import Float


class Players(NamedTuple):
    """Who learns, and by what."""

    student: nn.Module
    crafter: ImageGenerator
    student_sgd: torch.optim.Optimizer
    crafter_adam: torch.optim.Optimizer
    device: torch.device

    @property
    def parts(self) -> Parts:
        """All that learns, by name."""
        return {name: part for name, part in self._asdict().items() if name != "device"}

    def generate(self, count: int, latent: int, generator: torch.Generator) -> Float[Tensor, "n c h w"]:
        """Return new images before tanh, normalised by their own batch as in training."""
        raw: Tensor = self.crafter(moved(torch.randn(count, latent, generator=generator), self.device))
        return raw
