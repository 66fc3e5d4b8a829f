"""`redhanded report`: write the page of all tables."""

from pathlib import Path
from typing import Annotated

from typer import Option

from redhanded.commands import options
from redhanded.experiments.pages.reproduction import write_report
from redhanded.experiments.runner.context import Context
from redhanded.experiments.runner.store import Store


def report(
    world: options.WorldName = "demo",
    records: options.Records = None,
    artefacts: options.Artefacts = options.ARTEFACTS,
    out: Annotated[Path, Option(help="Folder for the page and its pictures.")] = Path("docs"),
) -> None:
    """Write reproduction.md: every table and figure of the paper beside what was measured.

    Reads records, and for some figures artefacts; it runs nothing. The same records give the same page.
    """
    chosen_world = options.world_named(world)
    context = Context(Store(options.records_of(records, chosen_world.name), artefacts))
    path, shown = write_report(chosen_world, context, options.folder("out", out))
    for figure in shown:
        if figure.lacks:
            options.tell(f"Figure {figure.picture.name}: {figure.lacks}")
    drawn = sum(not figure.lacks for figure in shown)
    options.tell(f"Wrote {path} and {drawn} of {len(shown)} figures")
