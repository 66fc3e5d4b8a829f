"""`redhanded compare`."""

from pathlib import Path
from typing import Annotated

from rich.table import Table
from typer import Option

from redhanded.commands import options
from redhanded.detectors.pairs import FPR, allowed_flags
from redhanded.errors import RedhandedError
from redhanded.experiments.cells import Detect, Watched
from redhanded.experiments.figures.likelihood import judged, likelihood_curves
from redhanded.experiments.figures.picture import NOT_MEASURED, save
from redhanded.experiments.runner.context import Context
from redhanded.experiments.runner.store import Record
from redhanded.experiments.tables.bundles import NOT_RECORDED, Behind, abbreviated, bundles
from redhanded.experiments.tables.comparison import HONEST, Comparison, Place
from redhanded.experiments.worlds.detectors import DETECTORS

COLUMNS = (
    *("flags", "flag rate", "bans", "benign floor", "FPR"),
    *("share of ceiling", "AUROC", "µs a query", "bundle"),
)


def compare(
    world: options.WorldName = "demo",
    detectors: Annotated[str | None, options.several_of(DETECTORS)] = None,
    streams: Annotated[
        str | None,
        Option(
            help="Streams, comma-separated: honest, the world's other natural sets, attacks of "
            "`redhanded attack`; by default natural sets, jb-top3, jba-pgd, jba-cw, dfme and random."
        ),
    ] = None,
    fpr: Annotated[float, Option(help="Bans per benign query that each is tuned to.")] = FPR,
    seed: Annotated[int, options.seed("the attacks and of the order of the tuning stream")] = 0,
    time_limit: options.TimeLimit = None,
    out: options.Out = None,
    markdown: Annotated[Path | None, Option(help="Write the tables to this file as well.")] = None,
    pictures: Annotated[
        Path | None, Option(help="Draw the VAE's likelihood curves (Figures 10, 13, 14) in this folder.")
    ] = None,
    artefacts: options.Artefacts = options.ARTEFACTS,
    device: options.DeviceName = "cpu",
    engine: options.EngineName = "local",
    jobs: options.Jobs = None,
    as_json: options.Json = False,
) -> None:
    """Put detectors side by side: the same streams, the same benign images and FPR to tune to.

    Streams are recorded once and replayed before every detector; a theft of millions of queries, which no
    disk holds, takes place once before them all. What is missing is trained, stolen and
    tuned first; finished cells are read from their records.
    """
    chosen_world = options.world_named(world)
    names = options.several(DETECTORS, detectors, "detectors")
    comparison = Comparison(chosen_world, tuple(names), tuple(options.listed(streams)), fpr, seed)
    context = options.context_of(out or Path("runs") / chosen_world.name, artefacts, device)
    if pictures is not None:
        options.folder("pictures", pictures)
    if markdown is not None:
        options.folder("markdown", markdown.parent)
    cells = list(dict.fromkeys(place.cell for place in comparison.places))
    length = sum(len(part.load()) for part in chosen_world.judging.common)
    allowed_flags(length, fpr=fpr, count="queries", flags_to_ban=1)  # before anything is trained
    drawing = pictures is not None  # which records alone are not enough for
    outcome = options.measure(cells, context, engine, jobs, artefacts=drawing, time_limit=time_limit)
    behind = bundles(context.store)
    found = [(place, _found(place, context, behind)) for place in comparison.places]
    tables = [_table(stream, found) for stream in dict.fromkeys(place.stream for place, _ in found)]
    data = [
        {"detector": place.detector, "stream": place.stream} | (record or {"measured": False})
        for place, record in found
    ]
    options.say(tables, data, as_json=as_json)
    if pictures is not None:
        for path in _draw(comparison, context, pictures):
            options.tell(f"Drew {path}")
    if markdown is not None:
        with options.usable("markdown", markdown):
            markdown.write_text(as_markdown(found), encoding="utf-8")
        options.tell(f"Tables: {markdown}")
    options.sum_up(outcome)


def _draw(comparison: Comparison, context: Context, folder: Path) -> list[Path]:
    """Draw what was measured of the VAE detector; raises `RedhandedError` if nothing was."""
    found = {
        place.stream: place.cell
        for place in comparison.places
        if place.detector == "vae"
        and not isinstance(place.cell, Watched)  # it keeps sums, not every query's likelihood
        and context.store.artefact(place.cell) is not None
    }
    if HONEST not in found:
        raise RedhandedError(
            "pictures: the VAE's verdicts on the honest stream are not here; compare `vae` on `honest` first"
        )
    detector, likelihood = judged(found, context)
    thieves = {name for name, cell in found.items() if isinstance(cell, Detect)}
    natural = {name: rows for name, rows in likelihood.items() if name not in thieves}
    stolen = {name: rows for name, rows in likelihood.items() if name in thieves | {HONEST}}
    # what is invented lies so far off that nothing else would be seen beside it
    grown = {
        name: rows
        for name, rows in stolen.items()
        if not (isinstance(cell := found[name], Detect) and cell.extraction.attack.starts_from == "nothing")
    }
    drawn = {
        "likelihood-start": likelihood_curves(stolen, detector, first=1_000),
        "likelihood-attacks": likelihood_curves(grown, detector),
        "likelihood-natural": likelihood_curves(natural, detector),
    }
    return [save(figure, folder / f"{name}-{comparison.world.name}") for name, figure in drawn.items()]


Found = list[tuple[Place, Record | None]]


def _found(place: Place, context: Context, behind: Behind) -> Record | None:
    """Return what was measured of a place, with the bundle that judged."""
    record = place.record(context.store.record(place.cell))
    if record is None:
        return None
    return {"bundle_digest": behind(place.tuned) or NOT_RECORDED} | record


def _table(stream: str, found: Found) -> Table:
    rows = [(place, record) for place, record in found if place.stream == stream]
    lengths = {record["queries"] for _, record in rows if record is not None}
    sizes = " and ".join(f"{length:,}" for length in sorted(lengths)) or "no"
    table = options.sheet(f"{stream}: {sizes} queries", ("detector", *COLUMNS), left=("detector",))
    for place, record in rows:
        table.add_row(place.detector, *(_figures(record).values() or [NOT_MEASURED]))
    return table


def _figures(record: Record | None) -> dict[str, str]:
    """Return what is shown of a record, by `COLUMNS`."""
    if record is None:
        return {}
    ceiling, floor, auroc = (record.get(name) for name in ("ceiling_bans", "benign_floor", "auroc"))
    about = "~" if record.get("benign_floor_extrapolated") else ""
    flagging = record["flags_to_ban"] > 1  # the others judge a statistic, and flag nothing
    figures = (
        f"{record['flags']:,}" if flagging else "",
        f"{record['flag_rate']:.2%}" if flagging else "",
        f"{record['bans']:,}",
        "" if floor is None else f"{about}{floor:.2f}",
        f"{record['fpr']:.3%}" if record["attack"] == "none" else "",
        f"{record['bans'] / ceiling:.0%}" if ceiling else "",
        "" if auroc is None else f"{auroc:.3f}",
        f"{1e6 * record['judging_seconds'] / record['queries']:,.0f}",
        abbreviated(record["bundle_digest"]),
    )
    return dict(zip(COLUMNS, figures, strict=True))


def as_markdown(found: Found) -> str:
    """Return tables of bans, flag rates and AUROC, detectors by streams."""
    detectors = list(dict.fromkeys(place.detector for place, _ in found))
    streams = list(dict.fromkeys(place.stream for place, _ in found))
    figures = {(place.detector, place.stream): _figures(record) for place, record in found}
    parts = []
    for title, column in (
        ("Bans (benign floor)", "bans"),
        ("Queries flagged", "flag rate"),
        ("AUROC", "AUROC"),
    ):
        lines = [f"| {title} | " + " | ".join(streams) + " |", "|---|" + "---:|" * len(streams)]
        for detector in detectors:
            entries = [_entry(figures[detector, stream], column) for stream in streams]
            if any(entries):
                lines.append(f"| {detector} | " + " | ".join(entries) + " |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _entry(figures: dict[str, str], column: str) -> str:
    if column != "bans":
        return figures.get(column, "")
    if not figures:
        return NOT_MEASURED
    floor = figures["benign floor"]
    return figures["bans"] + (f" ({floor})" if floor else "")
