"""Random sampling: query natural images once, train once. The baseline of every table (§IV-B)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from redhanded.errors import RedhandedError
from redhanded.lab.attacks.exchange import Transfer
from redhanded.lab.attacks.resume import FORGETFUL, Journal
from redhanded.lab.training import Training
from redhanded.lab.types import Adaptation, Answers, Images, NewModel, Oracle, Order, Round, Start, as_is


@dataclass(frozen=True)
class RandomSampling:
    """Send the first `budget` seeds and train on the answers."""

    budget: int = 5_000
    order: Order = "source"
    training: Training = Training()

    starts_from: ClassVar[Start] = "seeds"
    answers: ClassVar[Answers] = "labels"
    journaled: ClassVar[Literal[True]] = True

    def run(
        self,
        oracle: Oracle,
        seeds: Images,
        *,
        adapt: Adaptation = as_is,
        new_surrogate: NewModel,
        generator: torch.Generator,
        journal: Journal = FORGETFUL,
    ) -> Iterator[Round]:
        """Yield the one round; raises `RedhandedError` for fewer seeds than the budget."""
        if len(seeds) < self.budget:
            raise RedhandedError(
                f"budget: random sampling of {self.budget} queries needs as many seeds, got {len(seeds)}; "
                "give more images or lower the budget"
            )
        transfer = Transfer(oracle, adapt, self.budget, journal)
        exchanged = transfer.seed(seeds)
        surrogate = transfer.train(new_surrogate(), self.training, generator)
        yield exchanged.round(surrogate)
