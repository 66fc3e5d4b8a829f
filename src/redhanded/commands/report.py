"""`redhanded report`."""

from pathlib import Path
from typing import Annotated

import typer

from redhanded.commands.options import ARTEFACTS, Artefacts, WorldName, records_of, stderr, world_named
from redhanded.experiments.pages.reproduction import write_report
from redhanded.experiments.runner.context import Context
from redhanded.experiments.runner.store import Store


def report(
    world: WorldName = "demo",
    records: Annotated[
        Path | None,
        typer.Option(help="Folder of the records; default results/WORLD if it is there, else runs/WORLD."),
    ] = None,
    artefacts: Artefacts = ARTEFACTS,
    out: Annotated[Path, typer.Option(help="Folder for the page and its pictures.")] = Path("docs"),
) -> None:
    """Write reproduction.md: every table and figure of the paper beside what was measured.

    Reads records, and for some figures artefacts; it runs nothing. The same records give the same page.
    """
    chosen_world, show = world_named(world), stderr()
    context = Context(Store(records_of(records, chosen_world.name), artefacts))
    path, shown = write_report(chosen_world, context, out)
    for figure in shown:
        if figure.lacks:
            show.print(f"Figure {figure.picture.name}: {figure.lacks}", highlight=False, markup=False)
    drawn = sum(not figure.lacks for figure in shown)
    show.print(f"Wrote {path} and {drawn} of {len(shown)} figures", highlight=False, markup=False)
