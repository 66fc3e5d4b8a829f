"""Tables with a row for each set that a thief may draw its seeds from."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from redhanded.experiments.cells.datasets import Data
from redhanded.experiments.runner.context import Cell
from redhanded.experiments.tables.base import Entry, Metric
from redhanded.experiments.worlds.query_sets import CIFAR10_QUERY_SETS
from redhanded.experiments.worlds.world import World


class Column(NamedTuple):
    """A column, what the paper prints in it, and what measures it with seeds of a set."""

    title: str
    metric: Metric
    published: Sequence[float]
    """One figure a set, as `printed` takes them."""
    cell: Callable[[Data], Cell]


def printed(figures: Sequence[float | None]) -> Mapping[str, float | None]:
    """Name what the paper prints by its nine query sets, in their order; it has no others."""
    return dict(zip(CIFAR10_QUERY_SETS, figures, strict=True))


def by_query_set(world: World, n_seed: int, columns: Sequence[Column]) -> tuple[Entry, ...]:
    """Return a row for each of the world's query sets; one with fewer images than seeds says so."""
    entries = []
    for row, query_set in world.query_sets.items():
        lacking = query_set.lacks(n_seed)
        for column in columns:
            cells = () if query_set.data is None or lacking else (column.cell(query_set.data),)
            published = printed(column.published).get(row)
            entries.append(Entry(row, column.title, cells, column.metric, published, note=lacking))
    return tuple(entries)
