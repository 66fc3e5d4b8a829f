"""The lab's shared types: images, oracles, rounds, attacks, adaptations."""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from redhanded.types import Bool, Float, Int

Images = Float[Tensor, "n c h w"]
"""Float32 in [0, 1]; only models normalise."""
Outputs = Float[Tensor, "n classes"]
"""One-hot labels, probabilities or logits: whatever the oracle gives away."""
Oracle = Callable[[Images], Outputs]
NewModel = Callable[[], nn.Module]

Kind = Literal["seed", "augmented", "student", "gradient", "pool"]
Order = Literal["source", "source-shuffled", "batch64", "target", "shuffled"]
"""The order in which a round's queries are sent; see `redhanded.lab.attacks.order`."""
Start = Literal["seeds", "pool", "nothing"]
"""A few natural images to augment, many to choose from, or none."""
Answers = Literal["labels", "probabilities"]
"""Hard labels (any outputs will do), or probabilities."""
Fidelity = Literal["released", "corrected"]
"""Where the paper's released code deviates from its text or has a defect; see docs/decisions.md."""


class Round(NamedTuple):
    """One exchange with the oracle. The thief trains on `crafted` with the `labels` of `sent`."""

    crafted: Images
    sent: Images
    labels: Outputs
    parents: Int[Tensor, " n"]
    """Place, among all queries of the attack, of the query each was crafted from; -1 for a seed."""
    targets: Int[Tensor, " n"]
    """The class each was pushed towards; -1 if none."""
    kind: Kind
    surrogate: nn.Module
    """Trained on everything up to and including this round."""
    failures: int = 0
    """Queries that could not be crafted as aimed: not sent, or (`released`) sent as they came out."""


class Adapted(NamedTuple):
    """What an adaptation makes of a batch: which rows are kept, and what is sent for each kept row."""

    keep: Bool[Tensor, " n"]
    sent: Images


Adaptation = Callable[[Images, Kind], Adapted]
"""Blinding alters what is sent, filtering thins what is kept; both are told the kind of query."""


def as_is(images: Images, kind: Kind) -> Adapted:
    """Send everything unaltered."""
    del kind
    return Adapted(torch.ones(len(images), dtype=torch.bool, device=images.device), images)


@runtime_checkable
class Attack(Protocol):
    """A frozen value whose `run` yields rounds; it knows no guard, account or logger."""

    @property
    def budget(self) -> int: ...  # the most queries it sends

    @property
    def order(self) -> Order: ...  # of the queries inside a round

    @property
    def starts_from(self) -> Start: ...  # what natural images its `seeds` are

    @property
    def answers(self) -> Answers: ...  # what its oracle must give away

    def run(
        self,
        oracle: Oracle,
        seeds: Images,
        *,
        adapt: Adaptation = as_is,
        new_surrogate: NewModel,
        generator: torch.Generator,
    ) -> Iterator[Round]:
        """Yield a round for every exchange with the oracle; the last round's surrogate is the clone."""
