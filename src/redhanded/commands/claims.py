"""`redhanded claims`."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from redhanded.commands import options
from redhanded.experiments.claims import CLAIMS
from redhanded.experiments.claims.base import Ruling
from redhanded.experiments.claims.explained import Assessment, judge, summary
from redhanded.experiments.claims.reader import Reader
from redhanded.experiments.runner.store import Store

STYLES: dict[Ruling, str] = {
    "holds": "green",
    "fails": "red",
    "cannot be told": "yellow",
    "not measured": "dim",
    "cannot be judged": "dim",
}


def claims(
    world: options.WorldName = "demo",
    records: options.Records = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 if a claim fails that nobody has explained.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Say which of the paper's claims hold by the records of a world, which fail, and by which figures.

    Only reads records. A claim cannot be told if what it compares differs by no more than seeds do; it
    cannot be judged where the world lacks what it is about. A claim that fails is a finding, no error. Why
    it fails by the committed records of the demo and small worlds is shown beside it, and changes no
    verdict. Worlds other than the paper's are no reproduction.
    """
    chosen = options.world_named(world)
    read = Reader(chosen, Store(options.records_of(records, chosen.name), options.ARTEFACTS).record)
    judged = judge(CLAIMS, read)
    data = [
        {
            "name": one.claim.name,
            "claim": one.claim.sentence,
            "source": one.claim.source,
            "world": chosen.name,
            "verdict": one.judgement.ruling,
            "figures": one.judgement.figures,
            "why": one.why,
        }
        for one in judged
    ]
    options.say([_shown(chosen.name, judged), summary(judged)], data, as_json=as_json)
    if strict and any(one.unexplained for one in judged):
        raise typer.Exit(1)


def _shown(world: str, judged: Sequence[Assessment]) -> Table:
    caption = "" if world == "paper" else "Not a reproduction."
    table = options.sheet(f"The paper's claims in the {world} world", (), caption)
    table.leading, table.expand = 1, True
    for column, ratio in (("claim", 5), ("source", 2), ("verdict", None), ("figures", 4)):
        table.add_column(column, ratio=ratio, overflow="fold", no_wrap=ratio is None)
    for one in judged:
        stated = Text.assemble((one.claim.name, "bold"), " ", one.claim.sentence)
        ruling = one.judgement.ruling
        figures = Text(one.judgement.figures)
        if one.why:
            figures.append(f"\nWhy: {one.why}", style="italic")
        table.add_row(stated, one.claim.source, Text(ruling, style=STYLES[ruling]), figures)
    return table
