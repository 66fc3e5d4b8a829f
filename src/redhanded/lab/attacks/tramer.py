"""Line-search extraction of shallow networks (Tramèr et al. 2016; §III-B): random points, then boundaries."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from redhanded.lab.attacks.exchange import Exchange, Transfer, TransferAttack
from redhanded.lab.attacks.line_search import Answered, Pairs, bisect, first_of_other_classes, measure
from redhanded.lab.attacks.order import send_order
from redhanded.lab.training import Training, predict
from redhanded.lab.types import Fidelity, Images, Order, Round, Start
from redhanded.types import Float, Int

PASSES = Training(epochs=1_000, batch=10, lr=0.1, nesterov=True, weight_decay=0.0, step_epochs=1_000)


@dataclass(frozen=True)
class Tramer(TransferAttack):
    """Query uniform points of [0, 1] (their [-1, 1]), and spend the rest of the budget near boundaries.

    `oracle` ("adapt-oracle") draws quarters of the budget until line searches between them would cost more
    than is left: one from each point to the first earlier point of every other class, each bisected by the
    oracle's answers until its ends are `tolerance` apart. Every midpoint is a query, and has as its parent
    the end whose class is that of the point it started from.

    `local` ("adapt-local", adaptive retraining) works in `rounds` steps: uniform points first, then
    `local_share` of a step's queries are the ends of line searches between `local_points` uniform points on
    the surrogate, which cost nothing, and the rest uniform. The far end has the near end as its parent.

    `tolerance` is 0.1 over [-1, 1]. Where the searches would cost more than is left, `released` begins them
    all and is cut off, with ten classes after the first midpoints; `corrected` begins as many as can end.
    `order` says how many searches go on at once: `target` all (the released code), `batch64` 64, `source`
    one after the other; with `local`, how the ends are sent (`target`: all near ends first).

    Trainings are the original's 1,000 passes at a rate of 0.1, with its batches of a thousandth of 10,000
    queries; its momentum grew and was restarted, here it is 0.9.
    """

    strategy: Literal["oracle", "local"] = "oracle"
    budget: int = 10_000
    order: Order = "target"
    tolerance: float = 0.05
    fidelity: Fidelity = "corrected"
    random_share: float = 0.25
    local_points: int = 1_000
    local_share: float = 0.75
    rounds: int = 10
    round_training: Training = PASSES
    final_training: Training = PASSES

    starts_from: ClassVar[Start] = "nothing"

    def steal(self, transfer: Transfer, seeds: Images) -> Iterator[Round]:
        """Yield the uniform points, then the line searches (`oracle`) or a round a step (`local`).

        Of `seeds` only the shape of an image and the device are used. Surrogates are trained from scratch on
        everything so far. Should the adaptation drop a midpoint, its search ends there; what that leaves of
        the budget goes to new points and their searches. A round of which it kept nothing ends the attack.
        """
        exchanged = self._points(transfer, seeds)
        while transfer.left > 0 and len(exchanged.sent) > 0:
            surrogate = transfer.train(self.round_training)
            yield exchanged.round(surrogate)
            if self.strategy == "oracle":
                exchanged = self._search(transfer, exchanged, seeds)
            else:
                exchanged = self._retrain(transfer, surrogate, seeds)
        yield exchanged.round(transfer.train(self.final_training))

    def _points(self, transfer: Transfer, like: Images) -> Exchange:
        """Send the uniform points that come first: a step, or quarters until searches would use the rest."""
        if self.strategy == "local":
            return transfer.seed(uniform(self._step(transfer), like, transfer.generator))
        quarter = max(1, round(self.random_share * transfer.left))
        parts: list[Exchange] = []
        cost = 0
        while cost <= transfer.left and transfer.left > 0:
            parts.append(transfer.seed(uniform(min(quarter, transfer.left), like, transfer.generator)))
            if len(parts[-1].sent) == 0:
                break
            cost = int(self._pairs(merged(parts)).steps.sum())
        return merged(parts)

    def _step(self, transfer: Transfer) -> int:
        return min(-(-self.budget // self.rounds), transfer.left)

    def _search(self, transfer: Transfer, points: Exchange, like: Images) -> Exchange:
        """Send the line searches between the points just sent; after searches, new points."""
        pairs = self._pairs(points)
        if points.kind != "seed" or len(pairs.near) == 0:
            return self._points(transfer, like)
        if "shuffled" in self.order:
            pairs = pairs.rows(torch.randperm(len(pairs.near), generator=transfer.generator))
        fitting = transfer.left  # each takes one query at least
        if self.fidelity == "corrected":
            fitting = int((pairs.steps.cumsum(0) < transfer.left).sum()) + 1
        pairs = pairs.rows(slice(fitting))
        at_once = {"source": 1, "source-shuffled": 1, "batch64": 64}.get(self.order, len(pairs.near))
        first = len(transfer) - len(points.sent)
        parts: list[Exchange] = []
        for at in range(0, len(pairs.near), at_once):
            parts += _ask(transfer, points, first, pairs.rows(slice(at, at + at_once)))
        return merged(parts)

    def _pairs(self, points: Exchange) -> Pairs:
        """Pair each point with the first earlier point of every other class."""
        near, far = first_of_other_classes(points.labels.argmax(1).cpu())
        return measure(points.crafted, near, far, self.tolerance)

    def _retrain(self, transfer: Transfer, surrogate: nn.Module, like: Images) -> Exchange:
        """Send one step: both ends of line searches on the surrogate, and uniform points."""
        step, generator = self._step(transfer), transfer.generator
        points = uniform(self.local_points, like, generator)
        labels = predict(surrogate, points).argmax(1).cpu()
        searches = round(self.local_share * step / 2) if (labels != labels[0]).any() else 0
        near = torch.randint(len(points), (searches,), generator=generator)
        chances = torch.rand(searches, len(points), generator=generator)
        far = chances.masked_fill_(labels[near][:, None] == labels, -1).argmax(1)
        pairs = measure(points, near, far, self.tolerance)

        def answer(rows: Int[Tensor, " r"], middles: Images) -> Answered:
            same = predict(surrogate, middles).argmax(1).cpu() == labels[pairs.near[rows]]
            return Answered(torch.ones(len(rows), dtype=torch.bool), same)

        searches = len(pairs.near)
        order = send_order(searches, 2, self.order, generator)
        ends = torch.stack(bisect(points, pairs, answer), 1).flatten(0, 1)[order.to(points.device)]
        crafted = torch.cat([ends, uniform(step - 2 * searches, like, generator)])
        return self._send_ends(transfer, crafted, order)

    @staticmethod
    def _send_ends(transfer: Transfer, crafted: Images, order: Int[Tensor, " k"]) -> Exchange:
        """Send pairs of ends, source-major before `order`, and points; a far end's parent is its near end."""
        before = len(transfer)
        names = torch.cat([order, torch.arange(len(order), len(crafted))])
        unknown = torch.full((len(crafted),), -1)
        found = transfer.send(crafted, unknown, names, "augmented")
        names = found.targets  # of those that the adaptation kept
        place = torch.full((len(crafted),), -1)
        place[names] = before + torch.arange(len(names))
        far = (names < len(order)) & (names % 2 == 1)
        parents = torch.where(far, place[(names - 1).clamp(min=0)], -1)
        return replace(found, parents=parents, targets=torch.full_like(names, -1))


def _ask(transfer: Transfer, points: Exchange, first: int, pairs: Pairs) -> list[Exchange]:
    """Let the oracle answer the searches between points, the first of which was its query number `first`."""
    labels = points.labels.argmax(1).cpu()[pairs.near]
    parents = pairs.near + first
    parts: list[Exchange] = []

    def answer(rows: Int[Tensor, " r"], middles: Images) -> Answered:
        before, asked = len(transfer), rows[: transfer.left]
        if len(asked) == 0:
            return Answered(torch.zeros_like(rows, dtype=torch.bool), rows[:0] > 0)
        # the rows travel as targets, and so tell which of them the adaptation kept
        found = transfer.send(middles[: len(asked)], parents[asked], asked, "augmented")
        kept = found.targets
        same = found.labels.argmax(1).cpu() == labels[kept] if len(kept) else kept > 0
        parents[kept] = torch.where(same, before + torch.arange(len(kept)), parents[kept])
        parts.append(replace(found, targets=torch.full_like(kept, -1)))
        return Answered(torch.isin(rows, kept), same)

    bisect(points.crafted, pairs, answer)
    return parts


def uniform(count: int, like: Images, generator: torch.Generator) -> Float[Tensor, "k c h w"]:
    """Draw images uniformly from [0, 1], of the shape and on the device of `like`."""
    return torch.rand(count, *like.shape[1:], generator=generator).to(like.device)


def merged(parts: list[Exchange]) -> Exchange:
    """Join exchanges of one kind, of which there is at least one."""
    return Exchange.joined([part for part in parts if len(part.sent) > 0] or parts[:1])
