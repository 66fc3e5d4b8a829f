"""What a run has left to do, and how long that will take, going by what like cells took."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import log
from statistics import median
from typing import Any

from redhanded.experiments.runner.context import Cell, Context
from redhanded.experiments.runner.run import plan
from redhanded.experiments.runner.store import Record, read_records
from redhanded.experiments.tables import Table

KIND = (
    *("world", "kind", "model", "architecture", "stage", "loss", "detector", "detectors"),
    *("attack", "surrogate", "defence", "answers"),
)
LIKE = (
    (*KIND, "budget", "n_seed", "query_set", "adaptation"),
    (*KIND, "budget", "n_seed"),
    (*KIND, "budget"),
    KIND,
)
"""Fields that like cells share, the closest likeness first; by the last, queries tell the time."""


@dataclass(frozen=True)
class Forecast:
    """What a table still needs that no table before it needs."""

    table: str
    left: int
    """Cells to be measured, what they need included."""
    timed: int
    """Of these, cells like which one was measured on such a device."""
    seconds: float
    """What those will take, one after the other."""
    exact: int
    """Of these, cells that differ from what was timed in their seed alone."""

    def as_data(self) -> dict[str, Any]:
        return asdict(self) | {"seconds": round(self.seconds, 1)}


def forecast(tables: Sequence[Table], context: Context) -> list[Forecast]:
    """Return what is left of each table, in this order; measures nothing.

    Seconds are the median of the closest like records made on a device of the same type.
    """
    records = [
        record
        for record in read_records(context.store.records)
        if str(record.get("device", "")).startswith(context.device.type) and "seconds" in record
    ]
    counted: set[Cell] = set()
    found = []
    for table in tables:
        todo = [cell for cell in table.cells if context.store.record(cell) is None]
        left = [cell for cell in plan(todo, context) if cell not in counted]
        counted.update(left)
        times = [time for cell in left if (time := _time(cell, records)) is not None]
        seconds = sum((seconds for seconds, _ in times), 0.0)
        exact = sum(exactly for _, exactly in times)
        found.append(Forecast(table.name, len(left), len(times), seconds, exact))
    return found


def _time(cell: Cell, records: Sequence[Record]) -> tuple[float, bool] | None:
    """Return seconds, and whether of a cell with another seed alone; None if nothing like it was timed."""
    wanted = cell.described()
    for fields in LIKE:
        like = [record for record in records if all(record.get(name) == wanted.get(name) for name in fields)]
        if not like:
            continue
        if "budget" in fields or "budget" not in wanted:
            return median(float(record["seconds"]) for record in like), fields == LIKE[0]
        budget = float(wanted["budget"])
        ratios = {record["budget"]: abs(log(budget / record["budget"])) for record in like}
        nearest = min(ratios, key=ratios.__getitem__)
        seconds = median(float(record["seconds"]) for record in like if record["budget"] == nearest)
        return seconds * budget / nearest, False
    return None
