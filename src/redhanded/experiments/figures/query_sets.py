"""What seeds of each set are worth to a thief: Figures 7 and 8 of the paper (§IV-C)."""

from statistics import mean

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from redhanded.experiments.figures.style import INK, LOOKS, finish, plot, styled
from redhanded.experiments.tables.base import Entry, Look, Table

STEP = 0.22
"""Between the lines of one set's attacks; sets are 1 apart."""


def ranked_by_query_set(table: Table, look: Look) -> Figure:
    """Extraction accuracy by query set, the best set on top, one mark an attack; hollow where published.

    `table` has a row a set and a column an attack. Sets of which nothing was measured are left out.
    """
    measured: dict[str, list[Entry]] = {}
    for entry in table.entries:
        if entry.values(look):
            measured.setdefault(entry.row, []).append(entry)
    ranked = sorted(measured, key=lambda row: max(mean(entry.values(look)) for entry in measured[row]))
    columns = list(dict.fromkeys(entry.column for entry in table.entries))
    with styled():
        figure, axes = plot(1.1 + 0.42 * len(ranked))
        for place, (column, (colour, _, marker)) in enumerate(zip(columns, LOOKS, strict=False)):
            lift = STEP * ((len(columns) - 1) / 2 - place)
            shown = [
                (ranked.index(row) + lift, entry)
                for row, entries in measured.items()
                for entry in entries
                if entry.column == column
            ]
            ours = [(100 * mean(entry.values(look)), height) for height, entry in shown]
            theirs = [
                (100 * entry.published, height) for height, entry in shown if entry.published is not None
            ]
            axes.plot(*_columns(ours), ls="", marker=marker, ms=6, color=colour, label=column)
            axes.plot(*_columns(theirs), ls="", marker=marker, ms=6, color=colour, mfc="none")
        axes.set_yticks(range(len(ranked)), ranked)
        axes.set(xlabel="extraction accuracy (%)", xlim=(0, 100), ylim=(-0.6, len(ranked) - 0.4))
        printed = any(entry.published is not None for entries in measured.values() for entry in entries)
        hollow = Line2D([], [], ls="", marker="o", ms=6, color=INK, mfc="none", label="published")
        return finish(figure, axes, *([hollow] if printed else []))


def _columns(points: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
