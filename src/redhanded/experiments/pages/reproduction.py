"""The report page: every table and figure of the paper beside what the records of a world hold."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from redhanded.errors import RedhandedError
from redhanded.experiments.cells.calibrate import stream_name
from redhanded.experiments.claims import CLAIMS
from redhanded.experiments.claims.explained import judge, summary
from redhanded.experiments.claims.reader import Reader
from redhanded.experiments.figures.paper import FIGURES
from redhanded.experiments.figures.picture import Picture, save
from redhanded.experiments.pages.render import render
from redhanded.experiments.runner.context import Cell, Context
from redhanded.experiments.runner.store import Record, read_records
from redhanded.experiments.tables import OF_THE_PAPER
from redhanded.experiments.tables.bundles import bundles
from redhanded.experiments.tables.printing import as_markdown
from redhanded.experiments.tables.remarks import REMARKS
from redhanded.experiments.worlds.world import World
from redhanded.lab.models import Architecture

PAGE = "reproduction.md"
IMAGES = "images/reproduction"
NO_IMAGES = "measured, but the images that it shows are not at hand"


@dataclass(frozen=True)
class Plate:
    """A figure and its place on the page."""

    picture: Picture
    stem: str
    """Its files, from the page, without the suffix."""
    there: bool
    """Whether there is one, drawn now or by an earlier report."""
    lacks: str
    """Why it was not drawn now; empty if it was."""


def write_report(world: World, context: Context, out: Path) -> tuple[Path, list[Plate]]:
    """Draw every figure that can be drawn and write the page; returns the page's path and the figures.

    Reads records and artefacts, and runs nothing. Equal records give equal bytes, but for bundles that only
    the artefacts tell. What cannot be drawn any more is left as an earlier report drew it.

    Raises:
        RedhandedError: there are no records of this world.
    """
    records = _records(world, context)
    plates = [_drawn(make(world), context, out, world.name) for make in FIGURES.values()]
    path = out / PAGE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(world, context, records, plates), encoding="utf-8")
    return path, plates


def _records(world: World, context: Context) -> list[Record]:
    folder = context.store.records
    if not folder.is_dir():
        raise RedhandedError(
            f"records: there is no folder {folder}; name another, or fill it with "
            f"`redhanded run all --world {world.name} --out {folder}`"
        )
    found = [record for record in read_records(folder) if record.get("world") == world.name]
    if not found:
        raise RedhandedError(
            f"records: {folder} holds none of the {world.name} world; name another folder or another --world"
        )
    return found


def _drawn(picture: Picture, context: Context, out: Path, world: str) -> Plate:
    stem = f"{IMAGES}/{world}/figure-{picture.name}"
    figure = picture.draw(context)
    lacks = "" if figure is not None else picture.lacks(context) or NO_IMAGES
    if figure is not None:
        save(figure, out / stem)
    return Plate(picture, stem, (out / f"{stem}.png").is_file(), lacks)


def page(world: World, context: Context, records: Sequence[Record], plates: Sequence[Plate]) -> str:
    """Return the page as Markdown."""
    read: dict[Cell, Record | None] = {}

    def look(cell: Cell) -> Record | None:  # each is read once
        if cell not in read:
            read[cell] = context.store.record(cell)
        return read[cell]

    behind = bundles(context.store)
    tables = [OF_THE_PAPER[name](world) for name in REMARKS if name in OF_THE_PAPER]
    seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    for record in records:
        where = record.get("device", "not told"), record.get("torch", "not told")
        seconds[where].append(record.get("seconds", 0))
    judged = judge(CLAIMS, Reader(world, look))
    return render(
        "reproduction.md",
        _network,
        stream_name,
        world=world,
        victim=look(world.train_victim()),
        coverage=[
            (
                table,
                sum(look(cell) is not None for cell in table.cells),
                len({entry.row for entry in table.entries if not entry.available}),
            )
            for table in tables
        ],
        machines=sorted(seconds.items()),
        sections=[(table, REMARKS[table.name], as_markdown(table, look, behind)) for table in tables],
        summary=summary(judged),
        # the claims without records are counted alone
        judged=[one for one in judged if one.judgement.ruling in {"holds", "fails", "cannot be told"}],
        plates=plates,
    )


def _network(architecture: Architecture, classes: int) -> str:
    weights = sum(part.numel() for part in architecture.build(classes).parameters())
    return f"{type(architecture).__name__}, {weights / 1e6:.2f} million weights"
