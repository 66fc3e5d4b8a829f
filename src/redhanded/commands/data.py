"""`redhanded data`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich import box, progress
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from redhanded.commands.options import Json, say, stderr, stdout
from redhanded.lab.data.archive import available, data_root
from redhanded.lab.data.fetch import BYTES, Progress, fetch
from redhanded.lab.data.sources import SOURCES

app = typer.Typer(help="List and fetch the image sets.", no_args_is_help=True)


@app.command("list")
def list_sets(as_json: Json = False) -> None:
    """List the image sets of the paper and which of them are here."""
    here: dict[str, list[str]] = {}
    for name, split in available():
        here.setdefault(name, []).append(split)
    table = Table(
        title=f"Image sets in {data_root()}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        caption="Set $REDHANDED_DATA to use another folder.",
        caption_justify="left",
    )
    for column in ("name", "title", "classes", "fetched", "here"):
        table.add_column(column)
    data = []
    for name, source in SOURCES.items():
        splits = ", ".join(here.get(name, [])) or "no"
        table.add_row(
            name, source.title, str(source.classes), "yes" if source.fetchable else "by hand", splits
        )
        data.append(
            {
                "name": name,
                "title": source.title,
                "classes": source.classes,
                "fetchable": source.fetchable,
                "here": here.get(name, []),
            }
        )
    say(stdout(), [table], data, as_json=as_json)


@app.command("fetch")
def fetch_set(
    name: Annotated[str, typer.Argument(help="A name that `redhanded data list` calls fetched.")],
    source: Annotated[
        Path | None, typer.Option("--from", help="The official archive, if you have downloaded it yourself.")
    ] = None,
) -> None:
    """Download the official archive of a set, check it, and pack it into $REDHANDED_DATA."""
    show = stderr()
    with _bar(show) as report:
        paths = fetch(name, source=source, progress=report)
    for path in paths:
        show.print(f"Packed {path}", highlight=False, markup=False)


@contextmanager
def _bar(console: Console) -> Iterator[Progress]:
    """Yield what `fetch` reports to: one bar, of bytes or images; silent where none can be drawn."""
    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(bar_width=24),
        progress.TextColumn("{task.fields[amount]}"),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as drawn:
        tasks: dict[str, progress.TaskID] = {}

        def report(what: str, done: int, of: int | None) -> None:
            if what not in tasks:
                for earlier in tasks.values():
                    drawn.update(earlier, visible=False)
                tasks[what] = drawn.add_task(what, amount="")
            unit = decimal if what.startswith(BYTES) else "{:,}".format
            amount = f"{unit(done)} of {unit(of)}" if of else unit(done)
            drawn.update(tasks[what], completed=done, total=of, amount=amount)

        yield report
