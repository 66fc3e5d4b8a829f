"""`redhanded run`."""

from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table as RichTable

from redhanded.commands.options import (
    ARTEFACTS,
    Artefacts,
    DeviceName,
    Json,
    WorldName,
    announce,
    chosen,
    context_of,
    say,
    stderr,
    stdout,
    world_named,
)
from redhanded.errors import RedhandedError
from redhanded.experiments.context import Context
from redhanded.experiments.run import run_cells
from redhanded.experiments.tables import TABLES, Entry, Table


def run(
    tables: Annotated[
        list[str] | None,
        typer.Argument(
            help="Tables of the paper: i, ii, vii, x, xi; attacks: every attack once; defences: what each "
            "output defence costs and leaves; or all (the default)."
        ),
    ] = None,
    world: WorldName = "demo",
    time_limit: Annotated[
        float | None, typer.Option(help="Seconds after which to stop; the same command goes on later.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the records; default runs/WORLD.")] = None,
    artefacts: Artefacts = ARTEFACTS,
    device: DeviceName = "cpu",
    as_json: Json = False,
) -> None:
    """Measure tables of the paper, resuming finished cells, and print them beside the published figures.

    Only the paper world is a reproduction; the others show the same experiments at their own size.
    """
    names = list(TABLES) if not tables or tables == ["all"] else tables
    chosen_world = world_named(world)
    made = [chosen(TABLES, name, "table")(chosen_world) for name in names]
    if time_limit is not None and not 0 < time_limit < float("inf"):
        raise RedhandedError(f"time-limit: {time_limit} is not a number of seconds above 0")
    show = stderr()
    context = context_of(out or Path("runs") / chosen_world.name, artefacts, device, show)
    cells = list(dict.fromkeys(cell for table in made for cell in table.cells))
    outcome = run_cells(cells, context, time_limit=time_limit, started=announce(show))
    data = [_data(table, context) for table in made]
    say(stdout(), [_rendered(table, chosen_world.name, context) for table in made], data, as_json=as_json)
    show.print(
        f"{len(outcome.measured)} measured now, {len(outcome.finished)} finished before, "
        f"{len(outcome.left)} left" + ("; run the same command to go on" if outcome.left else ""),
        highlight=False,
    )


def _values(entry: Entry, context: Context) -> list[float]:
    records = (context.store.record(cell) for cell in entry.cells)
    return [float(record[entry.metric]) for record in records if record is not None]


def _floors(entry: Entry, context: Context) -> list[float]:
    records = (context.store.record(cell) for cell in entry.cells)
    return [float(record["benign_floor"]) for record in records if record is not None]


def _data(table: Table, context: Context) -> dict[str, Any]:
    return {
        "table": table.name,
        "entries": [
            {
                "row": entry.row,
                "column": entry.column,
                "values": _values(entry, context),
                "published": entry.published,
            }
            for entry in table.entries
        ],
    }


def _rendered(table: Table, world: str, context: Context) -> RichTable:
    shown = RichTable(
        title=f"{_name(table)} ({world} world)",
        title_justify="left",
        caption="Mean over seeds, smallest and largest in brackets. Published: the paper, at its own size."
        + ("" if world == "paper" else " Not a reproduction."),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
    )
    for name in ("scheme", "measure", "ours", "seeds", "benign floor", "published"):
        shown.add_column(name, justify="left" if name in {"scheme", "measure"} else "right")
    for entry in table.entries:
        values = _values(entry, context)
        floor = _floors(entry, context) if entry.metric == "bans" else []
        shown.add_row(
            entry.row,
            entry.column,
            _spread(values, entry),
            f"{len(values)}/{len(entry.cells)}",
            f"{mean(floor):.1f}" if floor else "",
            "" if entry.published is None else _figure(entry.published, entry),
        )
    return shown


def _name(table: Table) -> str:
    return (
        table.title if table.name in {"attacks", "defences"} else f"Table {table.name.upper()}: {table.title}"
    )


def _figure(value: float, entry: Entry) -> str:
    return {"accuracy": f"{value:.1%}", "bans": f"{round(value, 1):g}", "l1_mean": f"{value:.3f}"}[
        entry.metric
    ]


def _spread(values: list[float], entry: Entry) -> str:
    if not values:
        return "not measured"
    shown = _figure(mean(values), entry)
    if len(values) == 1:
        return shown
    return f"{shown} ({_figure(min(values), entry)} to {_figure(max(values), entry)})"
