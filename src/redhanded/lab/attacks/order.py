"""The order in which a round's queries are sent.

It decides the accounts: every ban wipes the history, so the order says how many kin are still remembered.
"""

from typing import assert_never

import torch
from torch import Tensor

from redhanded.lab.types import Order
from redhanded.types import Int


def send_order(sources: int, targets: int, order: Order, generator: torch.Generator) -> Int[Tensor, " n"]:
    """Return the order of all variants of all sources, as places in a source-major list.

    `source`: all variants of a source together (the reference JB-top3). `source-shuffled`: the same, the
    sources in random order (the reference draws them so in its last revisions). `batch64`: target by target
    within 64 sources (the reference PGD and CW). `target`: target by target over the whole round.
    `shuffled`: at random. What is random is drawn from `generator`.
    """
    grid = torch.arange(sources * targets).view(sources, targets)
    match order:
        case "source":
            return grid.flatten()
        case "source-shuffled":
            return grid[torch.randperm(sources, generator=generator)].flatten()
        case "batch64":
            return torch.cat([grid[at : at + 64].T.flatten() for at in range(0, max(sources, 1), 64)])
        case "target":
            return grid.T.flatten()
        case "shuffled":
            return torch.randperm(sources * targets, generator=generator)
    assert_never(order)
