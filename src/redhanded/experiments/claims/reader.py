"""What claims read of records: figures of tables, what queries were like, and how to compare them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from redhanded.experiments.claims.sample import NEAR_FLOOR, Answer, Pair, Sample, every, listed
from redhanded.experiments.runner.store import Record
from redhanded.experiments.tables import TABLES, Entry, Look, Table
from redhanded.experiments.tables.base import ACCOUNTS, ACCURACY
from redhanded.experiments.worlds.world import World


class NotMeasuredError(Exception):
    """A claim needs a figure that is in no record; the text says which."""


Row = TypeVar("Row")
Figure = TypeVar("Figure")


@dataclass(frozen=True)
class Rows(Generic[Row, Figure]):
    """What was read of the rows that a claim of every row is about, and which of them could not be read.

    One row that refutes such a claim decides it; one that is not measured leaves it open only until then.
    """

    found: dict[Row, Figure]
    missing: tuple[NotMeasuredError, ...]

    def every(self, confirms: Callable[[Figure], Answer]) -> Answer:
        """Whether every row confirms; raises what is missing unless a row refutes."""
        return self.settled(every(map(confirms, self.found.values())))

    def settled(self, answer: Answer) -> Answer:
        """Return what the rows say of a claim of all; raises what is missing unless they refute it."""
        if answer is not False and self.missing:
            raise self.missing[0]
        return answer

    def finding(
        self, confirms: Callable[[Figure], Answer], write: Callable[[Row, Figure], str], between: str = ", "
    ) -> tuple[Answer, str]:
        """Whether every row confirms, and each as `write` puts it."""
        return self.every(confirms), between.join(write(*row) for row in self.found.items()) + self.rest

    def least(self, measure: Callable[[Figure], float]) -> Row:
        return min(self.found, key=lambda row: measure(self.found[row]))

    @property
    def rest(self) -> str:
        """Say how many rows a claim was refuted without."""
        return f"; {len(self.missing)} more not measured" if self.missing else ""


def rows_of(rows: Iterable[Row], look: Callable[[Row], Figure]) -> Rows[Row, Figure]:
    """Read each row; those that are not measured are noted."""
    found: dict[Row, Figure] = {}
    missing = []
    for row in rows:
        try:
            found[row] = look(row)
        except NotMeasuredError as lacking:
            missing.append(lacking)
    return Rows(found, tuple(missing))


@dataclass(frozen=True)
class Reader:
    """Finds figures in a world's records; raises `NotMeasuredError` for what is not there."""

    world: World
    look: Look
    _made: dict[str, Table] = field(default_factory=dict)

    def table(self, name: str) -> Table:
        if name not in TABLES:
            raise NotMeasuredError(f"Table {name.upper()} is not measured")
        if name not in self._made:
            self._made[name] = TABLES[name](self.world)
        return self._made[name]

    def entry(self, table: str, row: str, column: str) -> Entry:
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
        self.records_of(entry, place)
        try:
            return Sample.of(entry.values(self.look))
        except KeyError as lacking:
            raise NotMeasuredError(f"{place}: its record has no {lacking}") from lacking

    def common(self, table: str, rows: Sequence[str], column: str = ACCURACY) -> "Reader":
        """Return a reader that sees of `rows` those seeds only which all of them have measured.

        The mean of three seeds beside a single one compares seeds as much as rows. A row of which there is
        nothing hides nothing of the others: reading it raises.
        """
        entries = [self.entry(table, row, column) for row in rows]
        measured = [[cell for cell in entry.cells if self.look(cell) is not None] for entry in entries]
        by_seed = [{cell.described()["seed"]: cell for cell in cells} for cells in measured if cells]
        shared = set.intersection(*map(set, by_seed)) if by_seed else set()
        if by_seed and not shared:
            raise NotMeasuredError(f"Table {table.upper()}: {listed(rows)} have no seed in common")
        hidden = {cell for cells in by_seed for seed, cell in cells.items() if seed not in shared}
        return replace(self, look=lambda cell: None if cell in hidden else self.look(cell))

    def pair(self, table: str, row: str, other: str, column: str = ACCURACY) -> Pair:
        """Return what a table shows of two rows, of the seeds that both have measured."""
        same = self.common(table, (row, other), column)
        return Pair(same.figure(table, row, column), same.figure(table, other, column))

    def prices(self, table: str, row: str, other: str) -> Pair:
        """Return the accounts of two rows, of the seeds that both have measured."""
        same = self.common(table, (row, other), ACCOUNTS)
        return Pair(same.price(table, row), same.price(table, other), NEAR_FLOOR)

    def fields(self, name: str, table: str, row: str, column: str = ACCURACY) -> list[Any]:
        """Return one field of the records behind a place, one a seed."""
        place = f"Table {table.upper()}: {row}, {column}"
        return self.fields_of(name, self.entry(table, row, column), place)

    def fields_of(self, name: str, entry: Entry, place: str) -> list[Any]:
        """Return one field of the records behind an entry; `place` names it where there is none."""
        records = self.records_of(entry, place)
        if any(record.get(name) is None for record in records):
            raise NotMeasuredError(f"{place}: its record has no {name!r}")
        return [record[name] for record in records]

    def price(self, table: str, row: str, column: str = ACCOUNTS) -> Sample:
        """Return bans in fractions, as the benign floor is: flags over the flags that close an account.

        At a fraction of the paper's budget there are few bans; flags tell more of them.
        """
        flags = self.fields("flags", table, row, column)
        quotas = self.fields("flags_to_ban", table, row, column)
        return Sample.of([count / quota for count, quota in zip(flags, quotas, strict=True)])

    def floor(self, table: str, row: str, column: str = ACCOUNTS) -> Sample:
        """Return the bans that an honest stream of the same length earns, in fractions."""
        return Sample.of([float(floor) for floor in self.fields("benign_floor", table, row, column)])

    def beside_floor(self, table: str, row: str, column: str = ACCOUNTS) -> Pair:
        """Return bans beside those of an honest stream."""
        return Pair(self.price(table, row, column), self.floor(table, row, column), NEAR_FLOOR)


def lacking(table: str, row: str, column: str, world: World) -> str:
    """Return why a place of a table cannot be measured in a world; nothing if it can."""
    entry = TABLES[table](world).find(row, column)
    return "" if entry.available else f"{row}: {entry.note}"
