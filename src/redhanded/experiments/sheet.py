"""A table of the paper with what was measured beside what is published: for terminals, pages and machines."""

from statistics import mean
from typing import Any

from rich import box
from rich.table import Table as RichTable

from redhanded.experiments.tables.base import Entry, Look, Table

HEADS = ("scheme", "measure", "ours", "seeds", "benign floor", "published", "note")
SPREAD = "Mean over seeds, smallest and largest in brackets. Published: the paper, at its own size."


def rows(table: Table, look: Look) -> list[tuple[str, ...]]:
    """Return a table's lines as text, in the order of `HEADS`."""
    return [_row(entry, look) for entry in table.entries]


def _row(entry: Entry, look: Look) -> tuple[str, ...]:
    floors = entry.floors(look)
    return (
        entry.row,
        entry.column,
        entry.spread(look),
        f"{len(entry.values(look))}/{len(entry.cells)}" if entry.available else "",
        f"{mean(floors):.2g}" if floors else "",
        "" if entry.published is None else entry.shown(entry.published),
        entry.note,
    )


def for_terminal(table: Table, world: str, look: Look) -> RichTable:
    """Return the table for a terminal."""
    caption = SPREAD + ("" if world == "paper" else " Not a reproduction.")
    shown = RichTable(
        title=f"{table.heading} ({world} world)",
        title_justify="left",
        caption=" ".join(part for part in (table.note, caption) if part),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
    )
    lines = rows(table, look)
    used = [place for place, name in enumerate(HEADS) if name != "note" or any(line[place] for line in lines)]
    for place in used:
        words = HEADS[place] in {"scheme", "measure", "note"}
        shown.add_column(HEADS[place], justify="left" if words else "right")
    for line in lines:
        shown.add_row(*(line[place] for place in used))
    return shown


def as_markdown(table: Table, look: Look) -> str:
    """Return the table in GitHub's Markdown, without its heading."""
    lines = rows(table, look)
    used = [place for place, name in enumerate(HEADS) if any(line[place] for line in lines)]
    words = {"scheme", "measure", "note"}
    head = "| " + " | ".join(HEADS[place] for place in used) + " |"
    rule = "| " + " | ".join("---" if HEADS[place] in words else "---:" for place in used) + " |"
    body = ["| " + " | ".join(line[place] for place in used) + " |" for line in lines]
    return "\n".join([head, rule, *body])


def as_data(table: Table, look: Look) -> dict[str, Any]:
    """Return the table for machines."""
    return {
        "table": table.name,
        "title": table.title,
        "entries": [
            {
                "row": entry.row,
                "column": entry.column,
                "available": entry.available,
                "values": entry.values(look),
                "benign_floors": entry.floors(look),
                "published": entry.published,
                "note": entry.note,
            }
            for entry in table.entries
        ],
    }
