"""What a table is: places, the cells that fill them, and what the paper prints there."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from statistics import mean
from typing import Literal

from redhanded.experiments.runner.context import Cell
from redhanded.experiments.runner.store import Record

Metric = Literal["accuracy", "accuracy_after", "bans", "accounts_used", "fpr", "l1_mean"]
Look = Callable[[Cell], Record | None]
"""Finds a cell's record, if it has been measured."""

ACCURACY, ACCOUNTS, FPR = "Ex. Acc.", "# Accounts", "FPR"
"""Columns as the paper heads them."""


@dataclass(frozen=True)
class Entry:
    """One number of a table: the cells that measure it (one a seed), and the published figure."""

    row: str
    column: str
    cells: tuple[Cell, ...]
    metric: Metric
    published: float | None = None
    """None where the paper prints none."""
    after: int = 0
    """Queries after which the clone is examined, for `accuracy_after`."""
    note: str = ""
    """What was really measured, where the row's name does not say it; why there are no cells."""

    @property
    def available(self) -> bool:
        return bool(self.cells)

    def values(self, look: Look) -> list[float]:
        """Return what was measured, one figure a seed."""
        return [self._value(record) for record in self._records(look)]

    def floors(self, look: Look) -> list[float]:
        """Return the benign floor beside each figure that counts accounts."""
        if self.metric not in {"bans", "accounts_used"}:
            return []
        return [float(record["benign_floor"]) for record in self._records(look)]

    def _records(self, look: Look) -> list[Record]:
        return [record for record in map(look, self.cells) if record is not None]

    def _value(self, record: Record) -> float:
        if self.metric != "accuracy_after":
            return float(record[self.metric])
        # scored at the end of rounds: the last round that had ended by then, or the first
        scores = zip(record["round_queries"], record["round_accuracy"], strict=True)
        (_, first), *later = scores
        reached = [accuracy for queries, accuracy in later if queries <= self.after]
        return float(reached[-1] if reached else first)

    def shown(self, value: float) -> str:
        match self.metric:
            case "bans" | "accounts_used":
                return f"{round(value, 1):,g}"
            case "fpr":
                return f"{value:.3%}"
            case "l1_mean":
                return f"{value:.3f}"
            case _:
                return f"{value:.1%}"

    def spread(self, look: Look) -> str:
        """Write the mean over seeds, and the smallest and largest; `-` or `n/a` if there is none."""
        values = self.values(look)
        if not values:
            return "-" if self.available else "n/a"
        shown = self.shown(mean(values))
        if len(values) == 1:
            return shown
        return f"{shown} ({self.shown(min(values))} to {self.shown(max(values))})"


def priced(
    row: str, cells: tuple[Cell, ...], published: tuple[float | None, float | None], note: str = ""
) -> list[Entry]:
    """Return what thefts cost in accounts and bring in accuracy; `published` has the paper's of both."""
    accounts, accuracy = published
    return [
        Entry(row, ACCOUNTS, cells, "bans", accounts, note=note),
        Entry(row, ACCURACY, cells, "accuracy", accuracy, note=note),
    ]


@dataclass(frozen=True)
class Table:
    """A table of the paper, or one in its manner."""

    name: str
    title: str
    entries: tuple[Entry, ...]
    note: str = ""
    """What to know before comparing it with the paper's."""

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All cells, each once, first seeds first: one whole table before its spread."""
        by_seed = zip_longest(*(entry.cells for entry in self.entries))
        return tuple(dict.fromkeys(cell for cells in by_seed for cell in cells if cell is not None))

    @property
    def heading(self) -> str:
        """The paper's number, if it has one, and the title."""
        roman = set(self.name) <= set("ivx")
        return f"Table {self.name.upper()}: {self.title}" if roman else self.title

    def find(self, row: str, column: str) -> Entry:
        """Return an entry; raises `KeyError` if there is none."""
        for entry in self.entries:
            if (entry.row, entry.column) == (row, column):
                return entry
        raise KeyError(f"{self.name}: {row!r}, {column!r}")
