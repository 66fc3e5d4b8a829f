"""The paper's tables as data: which cell fills which place, and what the paper prints there."""

from collections.abc import Callable, Mapping

from redhanded.experiments.tables import adaptive, detection, extraction, extras
from redhanded.experiments.tables.base import Entry, Look, Table
from redhanded.experiments.tables.extras import output_defences
from redhanded.experiments.worlds.world import World

__all__ = ["OF_THE_PAPER", "TABLES", "Entry", "Look", "Table", "output_defences"]

OF_THE_PAPER: Mapping[str, Callable[[World], Table]] = {
    "i": extraction.table_i,
    "ii": extraction.table_ii,
    "vii": detection.table_vii,
    "viii": detection.table_viii,
    "ix": detection.table_ix,
    "iv": extraction.table_iv,
    "v": extraction.table_v,
    "vi": extraction.table_vi,
    "x": adaptive.table_x,
    "xi": adaptive.table_xi,
    "xii": adaptive.table_xii,
    "xiv": detection.table_xiv,
    "xv": detection.table_xv,
    "iii": adaptive.table_iii,
    "xiii": adaptive.table_xiii,
}
"""Tables I to XV by the names from outside, most valuable first: the order in which they are measured."""

TABLES: Mapping[str, Callable[[World], Table]] = {
    **OF_THE_PAPER,
    "attacks": extras.table_attacks,
    "defences": extras.table_defences,
}
"""And one of every attack, one of output defences."""
