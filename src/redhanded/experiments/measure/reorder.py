"""The same theft in another order: a round may be sent as its thief likes."""

import numpy as np
import torch

from redhanded.experiments.measure.querylog import KINDS, QueryLog
from redhanded.lab.attacks.order import send_order
from redhanded.lab.types import Order
from redhanded.types import Int

AUGMENTED = KINDS.index("augmented")


def reordered(log: QueryLog, order: Order, generator: torch.Generator) -> QueryLog:
    """Return the log with the queries of each augmentation round in another order.

    A round's surrogate is trained after its last answer, so the thief may send a round as it likes: the clone
    is the same but for the shuffling of its training set. Rounds of other kinds stay as they are. Variants of
    a source count in the order in which they were sent; a source without its last variants leaves a gap.
    """
    new = np.arange(len(log))
    for number in np.unique(log.rounds[log.kinds == AUGMENTED]).tolist():
        places = np.flatnonzero((log.rounds == number) & (log.kinds == AUGMENTED))
        if (log.parents[places] >= 0).all():
            new[places] = places[_within(log.parents[places], order, generator)]
    moved = np.empty_like(new)
    moved[new] = np.arange(len(new))
    parents = log.parents[new]
    columns = {name: column[new] for name, column in vars(log).items()}
    return QueryLog(**columns | {"parents": np.where(parents >= 0, moved[parents], -1)})


def _within(
    parents: Int[np.ndarray, " n"], order: Order, generator: torch.Generator
) -> Int[np.ndarray, " n"]:
    """Return places of one round's rows in the order asked for."""
    _, first, source = np.unique(parents, return_index=True, return_inverse=True)
    source = np.argsort(np.argsort(first))[source]  # numbered as they were first sent
    variant = np.zeros(len(parents), np.int64)
    by_source = np.argsort(source, kind="stable")
    starts = np.flatnonzero(np.diff(source[by_source], prepend=-1))
    variant[by_source] = np.arange(len(parents)) - np.repeat(starts, np.diff([*starts, len(parents)]))
    sources, variants = len(first), int(variant.max()) + 1
    place = np.full(sources * variants, -1)
    place[source * variants + variant] = np.arange(len(parents))
    chosen = place[send_order(sources, variants, order, generator).numpy()]
    return np.asarray(chosen[chosen >= 0])
