"""What an output defence costs the honest user."""

from dataclasses import dataclass

from redhanded.experiments.cells.base import Keyed
from redhanded.experiments.cells.datasets import labelled
from redhanded.experiments.cells.defences import Defence
from redhanded.experiments.cells.victim import TrainVictim
from redhanded.experiments.runner.context import Context
from redhanded.experiments.runner.store import Record
from redhanded.lab.defences.utility import utility
from redhanded.lab.oracles.victim import Probabilities


@dataclass(frozen=True)
class Utility(Keyed):
    """Accuracy, and how far probabilities move, on the victim's test set."""

    victim: TrainVictim
    defence: Defence

    @property
    def label(self) -> str:
        return f"utility-{self.victim.world}-{self.defence.title.replace(' ', '-')}-{self.victim.seed}"

    def described(self) -> Record:
        return {
            "kind": "utility",
            "world": self.victim.world,
            "defence": self.defence.title,
            "seed": self.victim.seed,
            "victim_key": self.victim.key,
        }

    def run(self, context: Context) -> Record:
        plain = Probabilities(self.victim.load(context))
        served = self.defence.wrap(plain, context)
        return dict(utility(served, plain, *labelled(self.victim.test.load(), context.device)))
