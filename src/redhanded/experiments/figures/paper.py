"""The paper's figures as data: which cells each is drawn from, and how."""

from collections.abc import Callable, Mapping, Sequence

from redhanded.experiments.figures import queries
from redhanded.experiments.figures.detectors import figure_10, figure_12, figure_13, figure_14
from redhanded.experiments.figures.picture import Picture
from redhanded.experiments.figures.query_sets import ranked_by_query_set
from redhanded.experiments.runner.context import Cell, Context
from redhanded.experiments.runner.store import Record
from redhanded.experiments.tables import Table
from redhanded.experiments.tables.extraction import ATTACKS, table_i, table_ii, table_iv, table_v
from redhanded.experiments.worlds.world import World


def _measured(cells: Sequence[Cell], context: Context) -> list[Record]:
    return [record for cell in cells if (record := context.store.record(cell)) is not None]


def _augmenting(table: Table) -> tuple[Cell, ...]:
    """The thefts of a table by attacks that craft queries from others."""
    return tuple(cell for entry in table.entries if entry.row in ATTACKS for cell in entry.cells)


def _crossed(name: str, table: Table, n_seed: int, caption: str = "") -> Picture:
    cells = _augmenting(table)
    return Picture(
        name,
        "IV-B2",
        f"Crossed samples, {n_seed:,} seeds",
        f"Percentage of crafted queries labelled otherwise than the image they were made from. "
        f"Bands span the seeds of an attack.{caption}",
        cells,
        lambda context: queries.crossed_samples(_measured(cells, context)),
    )


def figure_5(world: World) -> Picture:
    """Predicted confidence of what Jacobian-based attacks send."""
    cells = _augmenting(table_ii(world))
    return Picture(
        "5",
        "IV-B3",
        "Predicted confidence on the queries of Jacobian-based attacks",
        f"All crafted queries, {world.n_seed_large:,} seeds. Low confidence stands for a boundary nearby.",
        cells,
        lambda context: queries.confidence_histograms(_measured(cells, context)),
    )


def figure_6(world: World) -> Picture:
    """Predicted confidence of what a generator sends, as it learns."""
    cell = world.data_free()
    return Picture(
        "6",
        "IV-B3",
        "Predicted confidence on DFME's queries as it goes on",
        f"Of {world.scale.data_free.budget:,} queries; the paper looks after 50,000, 500,000, 5 million and "
        "20 million.",
        (cell,),
        lambda context: queries.confidence_over_queries(context.record(cell)),
    )


def _ranked(name: str, table: Table, n_seed: int) -> Picture:
    return Picture(
        name,
        "IV-C",
        f"Extraction accuracy ranked by query set, {n_seed:,} seeds",
        f"Table {table.name.upper()} as a picture: the set from which most is stolen on top, published "
        "figures hollow. Sets of which nothing was measured are left out.",
        table.cells,
        lambda context: ranked_by_query_set(table, context.store.record),
    )


FIGURES: Mapping[str, Callable[[World], Picture]] = {
    "2": lambda world: _crossed("2", table_i(world), world.n_seed_small),
    "3": lambda world: _crossed(
        "3",
        table_ii(world),
        world.n_seed_large,
        " The paper augments 400 random images an iteration here, so that there are more of them; these are "
        "the attacks of Table II, which augment all.",
    ),
    "5": figure_5,
    "6": figure_6,
    "7": lambda world: _ranked("7", table_iv(world), world.n_seed_small),
    "8": lambda world: _ranked("8", table_v(world), world.n_seed_large),
    "10": figure_10,
    "12": figure_12,
    "13": figure_13,
    "14": figure_14,
}
"""The figures by the paper's numbers; its others are illustrations without data."""
