"""Who plays data-free extraction's game, and by what they learn."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from redhanded.lab.attacks.generator import moved
from redhanded.lab.training import State
from redhanded.types import Float


class Players(NamedTuple):
    student: nn.Module
    crafter: nn.Module
    student_sgd: torch.optim.Optimizer
    crafter_adam: torch.optim.Optimizer
    device: torch.device

    def state(self) -> State:
        return {name: part.state_dict() for name, part in self._asdict().items() if name != "device"}

    def restore(self, state: State) -> None:
        for name, part in state.items():
            getattr(self, name).load_state_dict(part)

    def generate(self, count: int, latent: int, generator: torch.Generator) -> Float[Tensor, "n c h w"]:
        """Return new images before tanh, normalised by their own batch as in training."""
        raw: Tensor = self.crafter(moved(torch.randn(count, latent, generator=generator), self.device))
        return raw
