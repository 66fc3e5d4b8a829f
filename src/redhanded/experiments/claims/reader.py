"""What claims read of records: figures of tables, what queries were like, and how to compare them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

from redhanded.experiments.store import Record
from redhanded.experiments.tables import TABLES, Entry, Look, Table
from redhanded.experiments.tables.base import ACCOUNTS, ACCURACY
from redhanded.experiments.world import World

POINT = 0.01
"""The paper's accuracies vary within one point (§IV-A2): what differs by no more does not differ."""
KEPT = 0.03
"""Accuracy that an adaptation may lose and still keep it: the 2 points of Table XII's, and the one above."""
NEAR_FLOOR = 2.0
"""Bans above the benign floor that may be chance."""
ROUNDING = 1e-9


class NotMeasuredError(Exception):
    """A claim needs a figure that is in no record; the text says which."""


@dataclass(frozen=True)
class Sample:
    """One figure as measured, a value a seed."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean over the seeds there are."""
        return mean(self.values)

    @property
    def range(self) -> float:
        """The largest less the smallest."""
        return max(self.values) - min(self.values)


@dataclass(frozen=True)
class Reader:
    """Finds figures in a world's records; raises `NotMeasuredError` for what is not there."""

    world: World
    look: Look
    _made: dict[str, Table] = field(default_factory=dict)

    def table(self, name: str) -> Table:
        """Return a table, made once."""
        if name not in TABLES:
            raise NotMeasuredError(f"Table {name.upper()} is not measured")
        if name not in self._made:
            self._made[name] = TABLES[name](self.world)
        return self._made[name]

    def entry(self, table: str, row: str, column: str) -> Entry:
        """Return a place of a table."""
        return self.table(table).find(row, column)

    def rows(self, table: str, column: str) -> list[str]:
        """Return the rows of a table that can be measured in this world."""
        entries = self.table(table).entries
        return [entry.row for entry in entries if entry.column == column and entry.available]

    def records(self, table: str, row: str, column: str = ACCURACY) -> list[Record]:
        """Return the records behind a place, one a seed."""
        return self.records_of(self.entry(table, row, column), f"Table {table.upper()}: {row}, {column}")

    def records_of(self, entry: Entry, place: str) -> list[Record]:
        """Return the records behind an entry; `place` names it where there are none."""
        found = [record for record in map(self.look, entry.cells) if record is not None]
        if not found:
            raise NotMeasuredError(f"{place} is not measured")
        return found

    def figure(self, table: str, row: str, column: str = ACCURACY) -> Sample:
        """Return what a table shows at a place."""
        return self.figure_of(self.entry(table, row, column), f"Table {table.upper()}: {row}, {column}")

    def figure_of(self, entry: Entry, place: str) -> Sample:
        """Return what an entry shows."""
        self.records_of(entry, place)
        try:
            return Sample(tuple(entry.values(self.look)))
        except KeyError as lacking:
            raise NotMeasuredError(f"{place}: its record has no {lacking}") from lacking

    def fields(self, name: str, table: str, row: str, column: str = ACCURACY) -> list[Any]:
        """Return one field of the records behind a place, one a seed."""
        records = self.records(table, row, column)
        if any(record.get(name) is None for record in records):
            raise NotMeasuredError(f"Table {table.upper()}: {row}: its record has no {name!r}")
        return [record[name] for record in records]

    def price(self, table: str, row: str, column: str = ACCOUNTS) -> Sample:
        """Return bans in fractions, as the benign floor is: flags over the flags that close an account.

        At a fraction of the paper's budget there are few bans; flags tell more of them.
        """
        flags = self.fields("flags", table, row, column)
        quotas = self.fields("flags_to_ban", table, row, column)
        return Sample(tuple(count / quota for count, quota in zip(flags, quotas, strict=True)))

    def floor(self, table: str, row: str, column: str = ACCOUNTS) -> float:
        """Return the bans that an honest stream of the same length earns, in fractions."""
        return float(mean(self.fields("benign_floor", table, row, column)))


def lacking(table: str, row: str, column: str, world: World) -> str:
    """Return why a place of a table cannot be measured in a world; nothing if it can."""
    entry = TABLES[table](world).find(row, column)
    return "" if entry.available else f"{row}: {entry.note}"


def exceeds(more: float, less: float, by: float = 0.0) -> bool:
    """Whether one figure lies more than `by` above another, whatever binary fractions make of it."""
    return more - less > by + ROUNDING


def within(one: float, other: float, by: float) -> bool:
    """Whether two figures differ by no more than `by`."""
    return abs(one - other) <= by + ROUNDING


def doubt(one: Sample, other: Sample, least: float = POINT) -> str:
    """Say that two figures differ by no more than their seeds do, or by no more than `least`."""
    spread = max(least, one.range, other.range)
    return " (within the spread)" if within(one.mean, other.mean, spread) else ""


def percent(share: float | Sample) -> str:
    """Write a share."""
    return f"{share.mean if isinstance(share, Sample) else share:.1%}"


def points(difference: float) -> str:
    """Write a difference of shares in points."""
    return f"{100 * difference:+.1f}"


def bans(price: float | Sample) -> str:
    """Write bans in fractions."""
    count = price.mean if isinstance(price, Sample) else price
    return f"{count:,.0f}" if count >= 100 else f"{count:.3g}"


def listed(parts: Iterable[str]) -> str:
    """Join figures to one line."""
    return ", ".join(parts)
