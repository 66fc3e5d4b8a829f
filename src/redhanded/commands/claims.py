"""`redhanded claims`."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from redhanded.commands.options import ARTEFACTS, Json, WorldName, records_of, say, stdout, world_named
from redhanded.experiments.claims import CLAIMS, RULINGS, Claim, Reader, Verdict
from redhanded.experiments.store import Store

STYLES = {"holds": "green", "fails": "red", "not measured": "dim", "cannot be judged": "dim"}


def claims(
    world: WorldName = "demo",
    records: Annotated[
        Path | None,
        typer.Option(help="Folder of records; default results/WORLD where it exists, else runs/WORLD."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if a claim fails.")] = False,
    as_json: Json = False,
) -> None:
    """Say which of the paper's claims hold by the records of a world, which fail, and by which figures.

    Only reads records. A claim that fails is a finding, no error; worlds other than the paper's are no
    reproduction.
    """
    chosen = world_named(world)
    read = Reader(chosen, Store(records_of(records, chosen.name), ARTEFACTS).record)
    judged = [(claim, claim.judge_by(read)) for claim in CLAIMS]
    data = [
        {
            "name": claim.name,
            "claim": claim.sentence,
            "source": claim.source,
            "world": chosen.name,
            "verdict": verdict.ruling,
            "figures": verdict.figures,
        }
        for claim, verdict in judged
    ]
    counts = Counter(verdict.ruling for _, verdict in judged)
    summary = f"{len(judged)} claims: " + ", ".join(f"{counts[ruling]} {ruling}" for ruling in RULINGS)
    say(stdout(), [_shown(chosen.name, judged), summary], data, as_json=as_json)
    if strict and counts["fails"]:
        raise typer.Exit(1)


def _shown(world: str, judged: list[tuple[Claim, Verdict]]) -> Table:
    table = Table(
        title=f"The paper's claims in the {world} world",
        title_justify="left",
        caption="" if world == "paper" else "Not a reproduction.",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        leading=1,
        expand=True,
    )
    for column, ratio in (("claim", 5), ("source", 2), ("verdict", None), ("figures", 4)):
        table.add_column(column, ratio=ratio, overflow="fold", no_wrap=ratio is None)
    for claim, verdict in judged:
        stated = Text.assemble((claim.name, "bold"), " ", claim.sentence)
        ruling = Text(verdict.ruling, style=STYLES[verdict.ruling])
        table.add_row(stated, claim.source, ruling, Text(verdict.figures))
    return table
