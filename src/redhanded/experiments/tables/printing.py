"""A table of the paper with what was measured beside what is published: for terminals, pages and machines."""

from statistics import mean
from typing import Any, Literal

from rich import box
from rich.table import Table as RichTable

from redhanded.experiments.tables.base import Entry, Look, Table
from redhanded.experiments.tables.bundles import Behind, named

SPREAD = (
    "Mean over seeds, smallest and largest in brackets; paper: as published, at its own size; floor: bans of "
    "an honest stream of the same length; bundle: digest of the detector that judged; -: not measured yet; "
    "n/a: no data."
)
WORDS = {"", "bundle", "note"}
"""Columns of text."""


def grid(table: Table, look: Look, behind: Behind) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return heads and lines as text: a line a row of the paper's table, figures beside the published ones.

    Columns that would stay empty are left out.
    """
    columns = list(dict.fromkeys(entry.column for entry in table.entries))
    places = {(entry.row, entry.column): entry for entry in table.entries}
    figures = [head for column in columns for head in (column, "floor", "paper")]
    heads = ["", *figures, "seeds", "bundle", "note"]
    lines = []
    for row in dict.fromkeys(entry.row for entry in table.entries):
        entries = [places.get((row, column)) for column in columns]
        texts = [text for entry in entries for text in _figures(entry, look)]
        present = [entry for entry in entries if entry is not None]
        judged = named((cell for entry in present for cell in entry.cells), behind)
        notes = dict.fromkeys(entry.note for entry in present if entry.note)
        lines.append((row, *texts, _seeds(present, look), judged, "; ".join(notes)))
    used = [place for place in range(len(heads)) if any(line[place] for line in lines)]
    return tuple(heads[place] for place in used), [tuple(line[place] for place in used) for line in lines]


def _figures(entry: Entry | None, look: Look) -> tuple[str, str, str]:
    if entry is None:
        return "", "", ""
    floors = entry.floors(look)
    return (
        entry.spread(look),
        f"{mean(floors):.2g}" if floors else "",
        "" if entry.published is None else entry.shown(entry.published),
    )


def _seeds(entries: list[Entry], look: Look) -> str:
    done = min((len(entry.values(look)), len(entry.cells)) for entry in entries)
    return f"{done[0]} of {done[1]}" if done[1] > 1 else ""


def for_terminal(table: Table, world: str, look: Look, behind: Behind) -> RichTable:
    caption = SPREAD + ("" if world == "paper" else " Not a reproduction.")
    shown = RichTable(
        title=f"{table.heading} ({world} world)",
        title_justify="left",
        caption=" ".join(part for part in (table.note, caption) if part),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    heads, lines = grid(table, look, behind)
    for head in heads:
        justify: Literal["left", "right"] = "left" if head in WORDS else "right"
        shown.add_column(head.replace(", ", "\n"), justify=justify, vertical="bottom", no_wrap=head == "")
    for line in lines:
        # the spread goes below its mean, so that columns stay narrow
        cells = zip(heads, line, strict=True)
        shown.add_row(*(text if head in WORDS else text.replace(" (", "\n(") for head, text in cells))
    return shown


def as_markdown(table: Table, look: Look, behind: Behind) -> str:
    """Return the table in GitHub's Markdown, without its heading."""
    heads, lines = grid(table, look, behind)
    rules = ("---" if head in WORDS else "---:" for head in heads)
    return "\n".join(f"| {' | '.join(line)} |" for line in (heads, tuple(rules), *lines))


def as_data(table: Table, look: Look, behind: Behind) -> dict[str, Any]:
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
                "bundles": list(dict.fromkeys(filter(None, map(behind, entry.cells)))),
                "published": entry.published,
                "note": entry.note,
            }
            for entry in table.entries
        ],
    }
