"""What several commands share: options, progress bars, and how results are printed."""

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated, Any, TypeVar, get_args

import torch
import typer
from rich import box, progress
from rich.console import Console
from rich.table import Table
from typer import Option

from redhanded.errors import RedhandedError
from redhanded.experiments.runner.cluster import cluster
from redhanded.experiments.runner.context import Cell, Context
from redhanded.experiments.runner.local import local
from redhanded.experiments.runner.run import Engine, Outcome, run_cells
from redhanded.experiments.runner.scheduler import Lost
from redhanded.experiments.runner.store import Store
from redhanded.experiments.worlds import WORLDS
from redhanded.experiments.worlds.world import World
from redhanded.guard import Mode
from redhanded.lab.training import Progress
from redhanded.lab.types import Fidelity, Order


def seed(of: str) -> Any:
    """Return the option for a seed of something."""
    return Option(min=0, max=2**63 - 1, help=f"Seed of {of}.")


def several_of(known: Collection[str]) -> Any:
    """Return the option for a comma list that `several` reads."""
    return Option(help=f"Comma-separated, of {', '.join(known)}; all by default.")


def _seconds(limit: float | None) -> float | None:
    if limit is not None and not 0 < limit < float("inf"):
        raise RedhandedError(f"time-limit: {limit} is not a number of seconds above 0")
    return limit


WorldName = Annotated[
    str, Option(help="demo (embedded, minutes), small (CIFAR-10 on a CPU) or paper (a GPU).")
]
ModeName = Annotated[
    str, Option(help="paper: the query that closes an account is answered; enforce: refused.")
]
TimeLimit = Annotated[
    float | None,
    Option(callback=_seconds, help="Seconds after which to stop; the same command goes on later."),
]
DeviceName = Annotated[str, Option(help="cpu, cuda or cuda:N.")]
EngineName = Annotated[
    str,
    Option(
        help="local: processes of this machine; ray: tasks on the cluster of $RAY_ADDRESS, or on one started "
        "here. All machines of a cluster need redhanded with its lab extra, and share the folders of --out "
        "and --artefacts."
    ),
]
Jobs = Annotated[
    int | None,
    Option(
        min=1,
        help="Cells measured at once; by default one a processor core, at most 8, or one on a GPU; on a "
        "cluster of $RAY_ADDRESS as many as it has cores, or GPUs.",
    ),
]
Json = Annotated[bool, Option("--json", help="Print JSON for machines instead of tables.")]
Out = Annotated[Path | None, Option(help="Folder of the records; default runs/WORLD.")]
Records = Annotated[
    Path | None, Option(help="Folder of records; default results/WORLD where it exists, else runs/WORLD.")
]
Artefacts = Annotated[Path, Option(help="Folder of trained models and query logs, shared by all runs.")]
MODES: Mapping[str, Mode] = {name: name for name in get_args(Mode)}
ORDERS: Mapping[str, Order] = {name: name for name in get_args(Order)}
FIDELITIES: Mapping[str, Fidelity] = {name: name for name in get_args(Fidelity)}
ENGINES: Mapping[str, Callable[[int | None, torch.device, Lost], Engine]] = {"local": local, "ray": cluster}
SILENCE = 60.0
"""Seconds without a word where no bar can be drawn."""
ARTEFACTS = Path("runs/artefacts")

T = TypeVar("T")


def world_named(name: str) -> World:
    """Return a world; raises `RedhandedError` for an unknown name."""
    return chosen(WORLDS, name, "world")()


def chosen(known: Mapping[str, T], name: str, field: str) -> T:
    """Look up a name that arrived from outside; raises `RedhandedError` that lists the known ones."""
    try:
        return known[name.lower()]
    except KeyError:
        raise RedhandedError(f"{field}: unknown {name!r}; choose from {', '.join(known)}") from None


def listed(names: str | None) -> list[str]:
    return [name.strip().lower() for name in (names or "").split(",") if name.strip()]


def several(known: Collection[str], names: str | None, field: str) -> list[str]:
    """Return the names of a comma list, by default all known ones; raises `RedhandedError` for another."""
    found = listed(names) or list(known)
    for name in found:
        chosen(dict.fromkeys(known), name, field)
    return found


def _device_named(name: str) -> torch.device:
    """Return a device that works here; raises `RedhandedError` otherwise."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise RedhandedError(
            f"device: {name!r} cannot be used here ({str(error).splitlines()[0]}); use --device cpu"
        ) from error
    return device


def records_of(given: Path | None, world: str) -> Path:
    """Return a folder of records to read: the one given, results/WORLD where it exists, else runs/WORLD.

    Raises `RedhandedError` if there is none.
    """
    committed, own = Path("results") / world, Path("runs") / world
    folder = given or (committed if committed.is_dir() else own)
    if not folder.is_dir():
        raise RedhandedError(
            f"records: {folder} is no folder; measure with `redhanded run --world {world}`, or give --records"
        )
    return folder


@contextmanager
def usable(field: str, path: Path) -> Iterator[None]:
    """Turn what the system has against a path that the user named into one line."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise RedhandedError(
            f"{field}: {path} cannot be used ({reason}); check the path, its owner and the disk"
        ) from error


def folder(field: str, path: Path) -> Path:
    """Make a folder that the user named: what cannot be written should fail before hours of work."""
    with usable(field, path):
        path.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path):
            return path


def context_of(records: Path, artefacts: Path, device: str) -> Context:
    """Return a context that reports on standard error."""
    store = Store(folder("records", records), folder("artefacts", artefacts))
    return Context(store, _device_named(device), _bar)


def measure(
    cells: Sequence[Cell],
    context: Context,
    engine: str,
    jobs: int | None,
    *,
    artefacts: bool = False,
    time_limit: float | None = None,
) -> Outcome:
    """Measure cells with a named engine, and tell which; raises `RedhandedError` if it is not to be had."""
    return run_cells(
        cells,
        context,
        time_limit=time_limit,
        artefacts=artefacts,
        started=announce,
        engine=chosen(ENGINES, engine, "engine")(jobs, context.device, _lost),
    )


def prepare(cells: Sequence[Cell], context: Context) -> None:
    """Measure in this process, one after the other, what is not here with its artefacts."""
    run_cells(cells, context, artefacts=True, started=announce)


def announce(cell: Cell, place: int, of: int) -> None:
    tell(f"[{place + 1}/{of}] {cell.label}")


def _lost(cell: Cell, how: str) -> None:
    tell(f"{cell.label}: its worker died ({how}); another one starts it again")


def sum_up(outcome: Outcome) -> None:
    """Tell how much was measured, and how to go on."""
    tell(
        f"{len(outcome.measured)} measured now, {len(outcome.finished)} finished before, "
        f"{len(outcome.left)} left" + ("; run the same command to go on" if outcome.left else "")
    )


@contextmanager
def _bar(title: str) -> Iterator[Progress]:
    """Show one progress bar at a time; where no bar can be drawn, tell a line a minute."""
    if not stderr().is_terminal:
        yield _lines(title)
        return
    amounts = (progress.MofNCompleteColumn(), progress.TimeElapsedColumn(), progress.TimeRemainingColumn())
    with bars(*amounts) as drawn:
        task = drawn.add_task(title, total=None)
        yield lambda done, of: drawn.update(task, completed=done, total=of)


def bars(*columns: progress.ProgressColumn) -> progress.Progress:
    """Return bars on standard error, titles before them and columns behind; none where none can be drawn."""
    title, bar = progress.TextColumn("{task.description}"), progress.BarColumn(bar_width=24)
    hidden = not stderr().is_terminal
    return progress.Progress(title, bar, *columns, console=stderr(), transient=True, disable=hidden)


def _lines(title: str) -> Progress:
    said = time.monotonic()

    def told(done: int, of: int) -> None:
        nonlocal said
        if time.monotonic() - said >= SILENCE:
            said = time.monotonic()
            tell(f"{title} {done:,}/{of:,}")

    return told


def sheet(title: str, columns: Sequence[str], caption: str = "", left: Sequence[str] = ()) -> Table:
    """Return an empty table for a terminal; columns are of figures but for those at the `left`."""
    table = Table(
        title=title, title_justify="left", caption=caption, caption_justify="left", box=box.SIMPLE_HEAD
    )
    for column in columns:
        table.add_column(column, justify="left" if column in left else "right")
    return table


def say(tables: Sequence[Table | str], data: Any, *, as_json: bool) -> None:
    """Print tables for people or JSON for machines, on standard output."""
    if as_json:
        typer.echo(json.dumps(data, indent=1))
        return
    console = Console()
    if not console.is_terminal:  # its width is not known
        console = Console(width=100)
    for table in tables:
        console.print(table)


def tell(line: str) -> None:
    stderr().print(line, highlight=False, markup=False)


@cache
def stderr() -> Console:
    """Return the console for progress: a single one, as a bar gives way only to lines of its own."""
    return Console(stderr=True)
