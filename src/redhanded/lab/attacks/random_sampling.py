"""Random sampling: query natural images once, train once. The baseline of every table (§IV-B)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from redhanded.errors import RedhandedError
from redhanded.lab.attacks.exchange import Transfer, TransferAttack
from redhanded.lab.training import Training
from redhanded.lab.types import Images, Order, Round, Start


@dataclass(frozen=True)
class RandomSampling(TransferAttack):
    """Send the first `budget` seeds and train on the answers."""

    budget: int = 5_000
    order: Order = "source"
    training: Training = Training()

    starts_from: ClassVar[Start] = "seeds"

    def steal(self, transfer: Transfer, seeds: Images) -> Iterator[Round]:
        """Yield the one round; raises `RedhandedError` for fewer seeds than the budget."""
        if len(seeds) < self.budget:
            raise RedhandedError(
                f"budget: random sampling of {self.budget} queries needs as many seeds, got {len(seeds)}; "
                "give more images or lower the budget"
            )
        yield transfer.seed(seeds).round(transfer.train(self.training))
