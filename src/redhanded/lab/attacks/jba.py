"""Jacobian-based augmentation (Algorithm 1): grow a transfer set by pushing it towards other classes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from redhanded.errors import RedhandedError
from redhanded.lab.attacks.exchange import Exchange, Transfer
from redhanded.lab.attacks.order import send_order
from redhanded.lab.attacks.perturb import LinfPgd, LogitAscent, Perturbation
from redhanded.lab.training import Training, predict
from redhanded.lab.types import Adaptation, Fidelity, Images, NewModel, Oracle, Order, Outputs, Round, as_is
from redhanded.types import Float, Int

CRAFT_BATCH = 256
"""Images crafted at once; crafting is image by image in effect, so it never changes a query."""

ROUND_TRAINING = Training(epochs=20)
FINAL_TRAINING = Training(epochs=100)


@dataclass(frozen=True)
class Jba:
    """Algorithm 1 with `perturbation` as the augmentation.

    Each round trains a fresh surrogate for `round_training` (n = 20 epochs), pushes every source towards
    each of the surrogate's `targets_per_source` most likely classes other than the one the oracle gave it,
    and queries the results; the last surrogate is trained for `final_training` (N = 100).

    Sources are the whole transfer set, or `reservoir` random rows of it (κ). Where the budget cannot take
    all their variants, `truncation` keeps the first sources, seeds first (the reference), or random ones.
    """

    perturbation: Perturbation
    budget: int = 50_000
    order: Order = "source"
    targets_per_source: int = 3
    round_training: Training = ROUND_TRAINING
    final_training: Training = FINAL_TRAINING
    reservoir: int | None = None
    truncation: Literal["prefix", "random"] = "prefix"

    def run(
        self,
        oracle: Oracle,
        seeds: Images,
        *,
        adapt: Adaptation = as_is,
        new_surrogate: NewModel,
        generator: torch.Generator,
    ) -> Iterator[Round]:
        """Yield the seed round, then a round per augmentation until the budget is spent.

        A round in which the adaptation kept nothing ends the attack.

        Raises:
            RedhandedError: no seeds, or more seeds than the budget takes.
        """
        if not 0 < len(seeds) <= self.budget:
            raise RedhandedError(
                f"budget: {self.budget} queries cannot hold {len(seeds)} seeds; "
                "give at least one seed and at most as many as the budget"
            )
        transfer = Transfer(oracle, adapt, self.budget)
        exchanged = transfer.seed(seeds)
        while transfer.left > 0 and len(exchanged.crafted) > 0:
            surrogate = transfer.train(new_surrogate(), self.round_training, generator)
            yield exchanged.round(surrogate)
            exchanged = self._augment(transfer, surrogate, generator)
        surrogate = transfer.train(new_surrogate(), self.final_training, generator)
        yield exchanged.round(surrogate)

    def _augment(self, transfer: Transfer, surrogate: nn.Module, generator: torch.Generator) -> Exchange:
        """Craft and send one round's queries."""
        images, labels = transfer.images, transfer.labels
        variants = min(self.targets_per_source, labels.shape[1] - 1)
        sources = self._sources(len(transfer), -(-transfer.left // variants), generator)
        targets = top_targets(predict(surrogate, images[sources]), labels[sources], variants).cpu()
        order = send_order(len(sources), variants, self.order, generator)
        parents = sources.repeat_interleave(variants)[order][: transfer.left]
        wanted = targets.flatten()[order][: transfer.left]
        crafted = self._craft(surrogate, images, parents, wanted, generator)
        return transfer.send(crafted, parents, wanted, "augmented")

    def _sources(self, rows: int, fitting: int, generator: torch.Generator) -> Int[Tensor, " n"]:
        """Return the places of the rows to augment: all or a reservoir, cut to those that fit the budget."""
        sources = torch.arange(rows)
        if self.reservoir is not None and self.reservoir < rows:
            sources = torch.randperm(rows, generator=generator)[: self.reservoir]
        if len(sources) > fitting and self.truncation == "random":
            sources = sources[torch.randperm(len(sources), generator=generator)]
        return sources[:fitting]

    def _craft(
        self,
        surrogate: nn.Module,
        images: Images,
        parents: Int[Tensor, " k"],
        targets: Int[Tensor, " k"],
        generator: torch.Generator,
    ) -> Float[Tensor, "k c h w"]:
        surrogate.eval()
        surrogate.requires_grad_(False)  # only the images' gradients are wanted
        parts = [
            self.perturbation(
                surrogate,
                images[parents[at : at + CRAFT_BATCH]].contiguous(memory_format=torch.channels_last),
                targets[at : at + CRAFT_BATCH].to(images.device),
                generator,
            )
            for at in range(0, len(parents), CRAFT_BATCH)
        ]
        return torch.cat(parts).contiguous() if parts else images[:0]


def top_targets(logits: Outputs, labels: Outputs, count: int) -> Int[Tensor, "n k"]:
    """Return the `count` classes of highest logit [n, count] but for the one the oracle answered."""
    own = labels.argmax(1, keepdim=True)
    others = logits.scatter(1, own, -torch.inf)
    return others.topk(min(count, logits.shape[1] - 1), dim=1).indices


def jb_top3(
    budget: int = 50_000,
    *,
    fidelity: Fidelity = "corrected",
    order: Order = "source",
    round_training: Training = ROUND_TRAINING,
    final_training: Training = FINAL_TRAINING,
) -> Jba:
    """JB-top3: PRADA's I-FGSM towards the three likeliest classes, with the settings of the released code."""
    return Jba(
        LogitAscent(fidelity=fidelity),
        budget,
        order,
        round_training=round_training,
        final_training=final_training,
    )


def jba_pgd(
    budget: int = 50_000,
    *,
    order: Order = "batch64",
    round_training: Training = ROUND_TRAINING,
    final_training: Training = FINAL_TRAINING,
) -> Jba:
    """JBA-PGD: targeted L∞ PGD of ε = 8/256 towards the three likeliest classes."""
    return Jba(LinfPgd(), budget, order, round_training=round_training, final_training=final_training)
