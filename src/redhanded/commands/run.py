"""`redhanded run`: measure tables and print them."""

from collections.abc import Sequence
from dataclasses import astuple
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from rich.table import Table
from typer import Argument, Option

from redhanded.commands import options
from redhanded.experiments.tables import OF_THE_PAPER, TABLES
from redhanded.experiments.tables.bundles import bundles
from redhanded.experiments.tables.forecast import Forecast, forecast
from redhanded.experiments.tables.printing import as_data, for_terminal


def run(
    tables: Annotated[
        list[str] | None,
        Argument(
            help="Tables of the paper, i to xv, or all of them (the default); attacks: every attack once; "
            "defences: what each output defence costs and leaves."
        ),
    ] = None,
    world: options.WorldName = "demo",
    time_limit: options.TimeLimit = None,
    out: options.Out = None,
    artefacts: options.Artefacts = options.ARTEFACTS,
    device: options.DeviceName = "cpu",
    engine: options.EngineName = "local",
    jobs: options.Jobs = None,
    dry_run: Annotated[
        bool,
        Option(
            "--dry-run",
            help="Measure nothing; say what is left, and how long it will take going by the records of like "
            "cells on such a device.",
        ),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Measure tables of the paper, resuming finished cells, and print them beside the published figures.

    Only the paper world is a reproduction; the others show the same experiments at their own size.
    """
    names = list(OF_THE_PAPER) if not tables or tables == ["all"] else tables
    chosen_world = options.world_named(world)
    made = [options.chosen(TABLES, name, "table")(chosen_world) for name in names]
    context = options.context_of(out or Path("runs") / chosen_world.name, artefacts, device)
    if dry_run:
        left = forecast(made, context)
        options.say([_foreseen(left, chosen_world.name)], [part.as_data() for part in left], as_json=as_json)
        return
    cells = list(dict.fromkeys(cell for table in made for cell in table.cells))
    outcome = options.measure(cells, context, engine, jobs, time_limit=time_limit)
    look, behind = context.store.record, bundles(context.store)
    data = [as_data(table, look, behind) for table in made]
    shown = [for_terminal(table, chosen_world.name, look, behind) for table in made]
    options.say(shown, data, as_json=as_json)
    options.sum_up(outcome)


def _foreseen(left: Sequence[Forecast], world: str) -> Table:
    shown = options.sheet(
        f"What is left ({world} world)",
        ("table", "cells left", "of these timed", "time"),
        "Cells of a table that no table above it needs, trainings and honest users among them. Time: "
        "one cell after the other, each as the median of like ones recorded on such a device; ~ where likes "
        "differ in more than the seed, and by queries where they had another number; cells like which none "
        "was timed are not in it.",
        left=("table",),
    )
    sums = map(sum, zip(*(astuple(part)[1:] for part in left), strict=True))
    for part in (*left, Forecast("all of these", *sums)):
        about = "~" if part.exact < part.timed else ""
        time = f"{about}{timedelta(seconds=round(part.seconds))}" if part.timed else ""
        name = part.table.upper() if part.table in OF_THE_PAPER else part.table
        shown.add_row(name, str(part.left), str(part.timed), time, end_section=part is left[-1])
    return shown
