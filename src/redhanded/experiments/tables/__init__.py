"""The paper's tables as data: which cell fills which place, and what the paper prints there."""

from collections.abc import Callable, Mapping

from redhanded.experiments.tables.adaptive import table_iii, table_x, table_xi, table_xii, table_xiii
from redhanded.experiments.tables.base import Entry, Look, Table
from redhanded.experiments.tables.detection import table_ix, table_vii, table_viii, table_xiv, table_xv
from redhanded.experiments.tables.extraction import table_i, table_ii, table_iv, table_v, table_vi
from redhanded.experiments.tables.extras import output_defences, table_attacks, table_defences
from redhanded.experiments.worlds.world import World

__all__ = ["OF_THE_PAPER", "TABLES", "Entry", "Look", "Table", "output_defences"]

OF_THE_PAPER: Mapping[str, Callable[[World], Table]] = {
    "i": table_i,
    "ii": table_ii,
    "vii": table_vii,
    "viii": table_viii,
    "ix": table_ix,
    "iv": table_iv,
    "v": table_v,
    "vi": table_vi,
    "x": table_x,
    "xi": table_xi,
    "xii": table_xii,
    "xiv": table_xiv,
    "xv": table_xv,
    "iii": table_iii,
    "xiii": table_xiii,
}
"""Tables I to XV by the names from outside, most valuable first: the order in which they are measured."""

TABLES: Mapping[str, Callable[[World], Table]] = {
    **OF_THE_PAPER,
    "attacks": table_attacks,
    "defences": table_defences,
}
"""And one of every attack, one of output defences."""
