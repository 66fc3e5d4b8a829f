"""ActiveThief (Pal et al. 2020; §III-C): query the images of a pool that the surrogate learns most from."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from redhanded.errors import RedhandedError
from redhanded.lab.attacks.exchange import Exchange, Transfer, TransferAttack
from redhanded.lab.attacks.order import send_order
from redhanded.lab.attacks.resume import Tensors
from redhanded.lab.attacks.selection import Dfal, Strategy, entropy, highest, k_center, probabilities
from redhanded.lab.training import Training
from redhanded.lab.types import Images, Order, Round, Start
from redhanded.types import Bool, Int

THIEF_TRAINING = Training(epochs=100, batch=50, optimiser="adam", lr=1e-3, weight_decay=0.0, step_epochs=100)


@dataclass(frozen=True)
class ActiveThief(TransferAttack):
    """Query random images first, then in each of `rounds` rounds those that `strategy` chooses.

    `uncertainty` takes the highest entropy, `k-center` covers the surrogate's probabilities farthest-first
    around those of the labelled images, `dfal` takes what DeepFool perturbs least, and `dfal+k-center`
    shortlists by DFAL (`shortlist` images, by default as many as the budget) and chooses by K-center (the
    paper has DFAL pick the centres; the released code does it so). Each round trains a fresh surrogate.

    The shares of the first round are the paper's: seeds 10% of the budget, validation 20%. The original keeps
    the validation queries for early stopping, within 1,000 epochs. Trainings here have fixed lengths, so what
    would be held out is trained on: the queries are the original's, and the thief wastes none. Adam at its
    usual rate and batches of 50 are the released code's, 100 epochs are not.
    """

    strategy: Strategy
    budget: int = 50_000
    order: Order = "source"
    rounds: int = 10
    seed_share: float = 0.1
    validation_share: float = 0.2
    round_training: Training = THIEF_TRAINING
    final_training: Training = THIEF_TRAINING
    dfal: Dfal = Dfal()
    shortlist: int | None = None

    starts_from: ClassVar[Start] = "pool"

    def steal(self, transfer: Transfer, seeds: Images) -> Iterator[Round]:
        """Yield the random round, then a round per selection from the pool `seeds` until the budget is spent.

        Nothing is offered twice, not even what the adaptation dropped; what that left of the budget is spread
        over the rounds still to come. A round of which it kept nothing ends the attack.

        Raises:
            RedhandedError: the pool is smaller than the budget.
        """
        if not 0 < self.budget <= len(seeds):
            raise RedhandedError(
                f"budget: choosing {self.budget} queries needs a pool of at least as many images, "
                f"got {len(seeds)}; give more images or lower the budget"
            )
        unsent = torch.ones(len(seeds), dtype=torch.bool)
        chosen = torch.randperm(len(seeds), generator=transfer.generator)[: self._first()]
        exchanged = self._send(transfer, seeds, chosen, unsent)
        number = 0
        while transfer.left > 0 and len(exchanged.crafted) > 0 and unsent.any():
            surrogate = transfer.train(self.round_training)
            yield exchanged.round(surrogate)
            count = -(-transfer.left // max(1, self.rounds - number))
            rows = unsent.nonzero()[:, 0]
            choose = partial(self._choose, transfer, surrogate, seeds, rows, count)
            chosen = transfer.journal.step(choose, [rows, transfer.classes], transfer.generator)["rows"]
            exchanged = self._send(transfer, seeds, chosen, unsent)
            number += 1
        yield exchanged.round(transfer.train(self.final_training))

    def _first(self) -> int:
        """Return the size of the first round: seeds and validation."""
        share = round(self.seed_share * self.budget) + round(self.validation_share * self.budget)
        return min(max(1, share), self.budget)

    def _send(
        self, transfer: Transfer, pool: Images, chosen: Int[Tensor, " k"], unsent: Bool[Tensor, " n"]
    ) -> Exchange:
        """Send rows of the pool, which are then no longer to be had."""
        unsent[chosen] = False
        chosen = chosen[send_order(len(chosen), 1, self.order, transfer.generator)]
        unknown = torch.full((len(chosen),), -1)
        return transfer.send(pool[chosen.to(pool.device)], unknown, unknown, "pool")

    def _choose(
        self, transfer: Transfer, surrogate: nn.Module, pool: Images, rows: Int[Tensor, " m"], count: int
    ) -> Tensors:
        """Return, as `rows`, `count` of the pool's `rows`, or all of them, in the strategy's order."""
        if self.strategy == "random":
            return {"rows": rows[torch.randperm(len(rows), generator=transfer.generator)[:count]]}
        if self.strategy.startswith("dfal"):
            rows = self._shortlisted(transfer, surrogate, pool, rows, count)
        if self.strategy == "dfal":
            return {"rows": rows[:count]}
        candidates = probabilities(surrogate, pool, rows.to(pool.device))
        if self.strategy == "uncertainty":
            return {"rows": rows[highest(entropy(candidates), count).cpu()]}
        centres = probabilities(surrogate, transfer.images)
        return {"rows": rows[k_center(candidates, centres, count).cpu()]}

    def _shortlisted(
        self, transfer: Transfer, surrogate: nn.Module, pool: Images, rows: Int[Tensor, " m"], count: int
    ) -> Int[Tensor, " k"]:
        """Return the rows that DeepFool perturbs least, least first: `count` or more, if there are."""
        looked_at = max(self.dfal.pool, count)
        if len(rows) > looked_at:
            rows = rows[torch.randperm(len(rows), generator=transfer.generator)[:looked_at]].sort().values
        distances = self.dfal(surrogate, pool, rows.to(pool.device))
        keep = max(count, self.budget if self.shortlist is None else self.shortlist)
        return rows[distances.sort(stable=True).indices[:keep].cpu()]  # NaN last
