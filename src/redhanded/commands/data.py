"""`redhanded data`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich import progress
from rich.filesize import decimal

from redhanded.commands import options
from redhanded.lab.data.archive import available, data_root
from redhanded.lab.data.fetch import BYTES, Progress, fetch
from redhanded.lab.data.sources import SOURCES

app = typer.Typer(help="List and fetch the image sets.", no_args_is_help=True)


@app.command("list")
def list_sets(as_json: options.Json = False) -> None:
    """List the image sets of the paper and which of them are here."""
    here: dict[str, list[str]] = {}
    for name, split in available():
        here.setdefault(name, []).append(split)
    columns = ("name", "title", "classes", "fetched", "here")
    caption = "Set $REDHANDED_DATA to use another folder."
    table = options.sheet(f"Image sets in {data_root()}", columns, caption, left=columns)
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
    options.say([table], data, as_json=as_json)


@app.command("fetch")
def fetch_set(
    name: Annotated[str, typer.Argument(help="A name that `redhanded data list` calls fetched.")],
    source: Annotated[
        Path | None, typer.Option("--from", help="The official archive, if you have downloaded it yourself.")
    ] = None,
) -> None:
    """Download the official archive of a set, check it, and pack it into $REDHANDED_DATA."""
    with _bar() as report:
        paths = fetch(name, source=source, progress=report)
    for path in paths:
        options.tell(f"Packed {path}")


@contextmanager
def _bar() -> Iterator[Progress]:
    """Yield what `fetch` reports to: one bar, of bytes or images; silent where none can be drawn."""
    amount = progress.TextColumn("{task.fields[amount]}")
    with options.bars(amount, progress.TimeRemainingColumn()) as drawn:
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
