"""What several commands share: options, progress bars, and how results are printed."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import torch
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from redhanded.errors import RedhandedError
from redhanded.experiments.runner.cluster import cluster
from redhanded.experiments.runner.context import Cell, Context
from redhanded.experiments.runner.local import local
from redhanded.experiments.runner.run import Engine
from redhanded.experiments.runner.scheduler import Lost
from redhanded.experiments.runner.store import Store
from redhanded.experiments.worlds import WORLDS
from redhanded.experiments.worlds.world import World
from redhanded.guard import Mode
from redhanded.lab.training import Progress as Told
from redhanded.lab.types import Fidelity, Order

WorldName = Annotated[
    str, typer.Option("--world", help="demo (embedded, minutes), small (CIFAR-10 on a CPU) or paper (a GPU).")
]
ModeName = Annotated[
    str,
    typer.Option("--mode", help="paper: the query that closes an account is answered; enforce: refused."),
]
Seed = Annotated[
    int, typer.Option("--seed", min=0, max=2**63 - 1, help="Seed of everything random, the order included.")
]
DeviceName = Annotated[str, typer.Option("--device", help="cpu, cuda or cuda:N.")]
EngineName = Annotated[
    str,
    typer.Option(
        "--engine",
        help="local: processes of this machine; ray: tasks on the cluster of $RAY_ADDRESS, or on one started "
        "here. All machines of a cluster need redhanded with its lab extra, and share the folders of --out "
        "and --artefacts.",
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        min=1,
        help="Cells measured at once; by default one a processor core, at most 8, or one on a GPU; on a "
        "cluster of $RAY_ADDRESS as many as it has cores, or GPUs.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of tables.")]
Artefacts = Annotated[
    Path, typer.Option("--artefacts", help="Folder of trained models and query logs, shared by all runs.")
]
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


def device_named(name: str) -> torch.device:
    """Return a device that works here; raises `RedhandedError` otherwise."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise RedhandedError(
            f"device: {name!r} cannot be used here ({str(error).splitlines()[0]}); use --device cpu"
        ) from error
    return device


def engine_named(name: str, jobs: int | None, device: torch.device, console: Console) -> Engine:
    """Return what measures cells; raises `RedhandedError` for an unknown name or if Ray is not installed."""

    def lost(cell: Cell, how: str) -> None:
        line = f"{cell.label}: its worker died ({how}); another one starts it again"
        console.print(line, highlight=False, markup=False)

    return chosen(ENGINES, name, "engine")(jobs, device, lost)


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


def context_of(records: Path, artefacts: Path, device: str, console: Console) -> Context:
    """Return a context that reports on standard error."""
    for folder in (records, artefacts):  # what cannot be written should fail before hours of work
        folder.mkdir(parents=True, exist_ok=True)
    return Context(Store(records, artefacts), device_named(device), bars(console))


def bars(console: Console) -> Callable[[str], Any]:
    """Return a reporter that shows one progress bar at a time; where no bar can be drawn, a line a minute."""

    @contextmanager
    def open_bar(title: str) -> Iterator[Told]:
        if not console.is_terminal:
            yield _lines(console, title)
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task(title, total=None)
            yield lambda done, of: progress.update(task, completed=done, total=of)

    return open_bar


def _lines(console: Console, title: str) -> Told:
    said = time.monotonic()

    def tell(done: int, of: int) -> None:
        nonlocal said
        if time.monotonic() - said >= SILENCE:
            said = time.monotonic()
            console.print(f"{title} {done:,}/{of:,}", highlight=False, markup=False)

    return tell


def announce(console: Console) -> Callable[[Cell, int, int], None]:
    """Return a callback that prints a line for each cell that starts."""

    def started(cell: Cell, place: int, of: int) -> None:
        console.print(f"[{place + 1}/{of}] {cell.label}", highlight=False, markup=False)

    return started


def say(console: Console, tables: Sequence[Table | str], data: Any, *, as_json: bool) -> None:
    """Print tables for people or JSON for machines, on standard output."""
    if as_json:
        typer.echo(json.dumps(data, indent=1))
        return
    for table in tables:
        console.print(table)


def stdout() -> Console:
    """Return the console for results; 100 columns where the width is not known."""
    console = Console()
    return console if console.is_terminal else Console(width=100)


def stderr() -> Console:
    """Return the console for progress."""
    return Console(stderr=True)
