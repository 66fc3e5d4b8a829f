"""What an output defence costs the honest user."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from redhanded.experiments.cells.base import Keyed
from redhanded.experiments.cells.datasets import as_tensor
from redhanded.experiments.cells.defences import Defence
from redhanded.experiments.cells.victim import TrainVictim
from redhanded.experiments.runner.context import Cell, Context
from redhanded.experiments.runner.store import Record
from redhanded.lab.defences import utility
from redhanded.lab.oracles.victim import Probabilities


@dataclass(frozen=True)
class Utility(Keyed):
    """Accuracy, and how far probabilities move, on the victim's test set."""

    victim: TrainVictim
    defence: Defence

    version: ClassVar[int] = 1
    resumes: ClassVar[bool] = False

    @property
    def needs(self) -> tuple[Cell, ...]:
        """The victim, and what the defence needs."""
        return (self.victim, *self.defence.needs)

    @property
    def label(self) -> str:
        """A readable file name."""
        return f"utility-{self.victim.world}-{self.defence.title.replace(' ', '-')}-{self.victim.seed}"

    def described(self) -> Record:
        """Return every varied field, flat."""
        return {
            "kind": "utility",
            "world": self.victim.world,
            "defence": self.defence.title,
            "seed": self.victim.seed,
            "victim_key": self.victim.key,
        }

    def run(self, context: Context) -> Record:
        """Ask the plain and the defended victim about the test set."""
        plain = Probabilities(self.victim.load(context))
        test = self.victim.test.load()
        found = utility(
            self.defence.wrap(plain, context),
            plain,
            as_tensor(test.images, context.device),
            torch.from_numpy(test.labels).to(context.device),
        )
        return dict(found)
