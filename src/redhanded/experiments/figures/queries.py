"""What queries look like, drawn from extraction records: Figures 2, 3, 5 and 6 of the paper (§IV-B)."""

from collections.abc import Callable, Iterable, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from redhanded.experiments.figures.style import DPI, LOOKS, MUTED, WIDTH, nothing, plot, styled
from redhanded.experiments.runner.store import Record
from redhanded.experiments.worlds import WORLDS

SIDES = (("surrogate", "on the surrogate"), ("victim", "on the victim"))


OF_THE_PAPER = ("jb-top3", "jba-bs", "jba-cw", "jba-pgd")
"""The attacks that the paper's figures show: they look alike in every figure, whichever of them it has."""


def look_of(attack: str, shown: Sequence[str]) -> tuple[Any, ...]:
    """Return colour, dashes and marker of an attack in a figure of these."""
    order = [*OF_THE_PAPER, *(name for name in shown if name not in OF_THE_PAPER)]
    return LOOKS[order.index(attack) % len(LOOKS)]


def crossed_samples(records: Sequence[Record]) -> Figure:
    """Percentage of crossed samples at each iteration, one line an attack (Figures 2 and 3).

    `records` are extractions of one world and number of seeds; of an attack's seeds the mean is drawn, and
    their range as a band.
    """
    with styled():
        shown = _by_attack(records, "traits_crossed_victim")
        if not shown:
            _, axes = plot(0.6)
            return nothing(axes, "No attack crafted its queries from others.")
        figure = Figure(figsize=(WIDTH, 3.3), dpi=DPI, layout="constrained")
        plots = figure.subplots(1, 2, sharey=True)
        for axes, (side, name) in zip(plots, SIDES, strict=True):
            for attack, runs in shown.items():
                colour, dashes, marker = look_of(attack, list(shown))
                rows = _stacked([run[f"traits_crossed_{side}"] for run in runs])
                rounds = np.arange(1, rows.shape[1] + 1)
                mean = 100 * np.nanmean(rows, 0)
                axes.plot(rounds, mean, color=colour, ls=dashes, marker=marker, ms=4, label=attack)
                axes.fill_between(
                    rounds, 100 * np.nanmin(rows, 0), 100 * np.nanmax(rows, 0), color=colour, alpha=0.15, lw=0
                )
            axes.set(xlabel="iteration", ylim=(0, 104))
            axes.set_title(name, fontsize=9.5, loc="left", color=MUTED)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        plots[0].set_ylabel("crossed samples (%)")
        handles, _ = plots[0].get_legend_handles_labels()
        figure.legend(handles=handles, loc="outside upper left", ncols=4)
        return figure


def confidence_histograms(records: Sequence[Record]) -> Figure:
    """Histograms of predicted confidence on crafted queries, a row an attack (Figure 5)."""
    with styled():
        shown = _by_attack(records, "traits_confidence_victim")
        shown = {attack: runs for attack, runs in shown.items() if "traits_crossed_victim" in runs[0]}
        if not shown:
            _, axes = plot(0.6)
            return nothing(axes, "No attack crafted its queries from others.")
        return _histograms([(attack, _summed(runs)) for attack, runs in shown.items()])


def confidence_over_queries(record: Record) -> Figure:
    """Histograms of predicted confidence of a data-free attack's queries as it goes on (Figure 6)."""
    with styled():
        queries = record.get("traits_queries", [])
        if not queries:
            _, axes = plot(0.6)
            return nothing(axes, "Nothing was generated.")
        chosen = np.unique(np.linspace(0, len(queries) - 1, min(4, len(queries))).round().astype(int))
        rows = [
            (
                f"after {queries[place]:,} queries",
                {side: np.array(record[f"traits_confidence_{side}"][place]) for side, _ in SIDES},
            )
            for place in chosen.tolist()
        ]
        return _histograms(rows)


PANELS: tuple[tuple[str, tuple[tuple[str, Callable[[Record], float | None]], ...]], ...] = (
    (
        "reached its target (%)",
        (
            ("on the surrogate", lambda record: _percent_of(record, "traits_reached_surrogate")),
            ("on the victim", lambda record: _percent_of(record, "traits_reached_victim")),
        ),
    ),
    ("L2 change (pixels)", (("", lambda record: _mean_of(record, "traits_l2")),)),
    (
        "clone's accuracy (%)",
        (
            ("transfer set", lambda record: _times(record.get("transfer_accuracy"), 100.0)),
            ("test set", lambda record: _times(record["accuracy"], 100.0)),
        ),
    ),
    ("feature directions", (("", lambda record: record.get("query_effective_rank")),)),
)
"""What is drawn of an attack: panels of one or two figures a record."""


def traits_by_attack(extractions: Sequence[Record], detections: Sequence[Record]) -> Figure:
    """What the queries of each attack have in common, a row an attack, means over rounds and seeds.

    Reached targets, distortion, and the clone's accuracy on what it was trained on beside that on the test
    set (the overfitting argument) come from extractions; the diversity of features, their effective rank in
    the encoder of Equation 6 (`per-pair`), from detections of the same streams.
    """
    ranks = {
        record["stream"]: record.get("query_effective_rank")
        for record in detections
        if record.get("loss") == "per-pair"  # each encoder has directions of its own
    }
    shown: dict[str, list[Record]] = {}
    for record in sorted(extractions, key=lambda record: (record["n_seed"] == 0, record["attack"])):
        shown.setdefault(record["attack"], []).append(
            record | {"query_effective_rank": ranks.get(record["key"])}
        )
    rows = np.arange(len(shown))[::-1]
    panels = [
        (title, parts)
        for title, parts in PANELS
        if any(value(run) is not None for _, value in parts for runs in shown.values() for run in runs)
    ]
    with styled():
        figure = Figure(figsize=(WIDTH, 1.1 + 0.2 * len(shown)), dpi=DPI, layout="constrained")
        for place, (axes, (title, parts)) in enumerate(
            zip(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels, strict=True)
        ):
            for (name, figure_of), (colour, _, marker) in zip(parts, LOOKS, strict=False):
                points = [
                    (_mean([figure_of(run) for run in runs]), row)
                    for runs, row in zip(shown.values(), rows, strict=True)
                ]
                drawn = [(value, row) for value, row in points if value is not None]
                axes.plot(*zip(*drawn, strict=True), ls="", marker=marker, ms=4, color=colour, label=name)
            axes.set_title(title, fontsize=8, loc="left", color=MUTED)
            axes.set_xlim(left=0)
            if len(parts) > 1:
                axes.legend(fontsize=6.5, loc="upper left", bbox_to_anchor=(-0.1, -0.12), handlelength=1)
            if place == 0:
                axes.set_yticks(rows, shown, fontsize=8)
        return figure


def _mean(values: Sequence[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return float(np.mean(found)) if found else None


def _mean_of(record: Record, trait: str) -> float | None:
    return _mean(record.get(trait) or [])


def _percent_of(record: Record, trait: str) -> float | None:
    return _times(_mean_of(record, trait), 100.0)


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else factor * value


def _histograms(rows: Sequence[tuple[str, dict[str, np.ndarray]]]) -> Figure:
    figure = Figure(figsize=(WIDTH, 0.5 + 1.25 * len(rows)), dpi=DPI, layout="constrained")
    grid = figure.subplots(len(rows), 2, sharex=True, squeeze=False)
    for line, ((title, counts), (colour, _, _)) in zip(
        grid, zip(rows, cycle(LOOKS), strict=False), strict=True
    ):
        for axes, (side, name) in zip(line, SIDES, strict=True):
            edges = np.linspace(0, 1, len(counts[side]) + 1)
            share = 100 * counts[side] / max(counts[side].sum(), 1)
            axes.stairs(share, edges, fill=True, color=colour, alpha=0.75)
            axes.set_xlim(0, 1)
            axes.set_ylim(bottom=0)
            axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
            if axes in grid[0]:
                axes.set_title(name, fontsize=9.5, loc="left", color=MUTED)
        line[0].set_ylabel(f"{title}\n(% of queries)", fontsize=8)
    for axes in grid[-1]:
        axes.set_xlabel("predicted confidence")
    return figure


def _by_attack(records: Sequence[Record], trait: str) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda record: (record["attack"], record["seed"])):
        if any(value is not None for value in record.get(trait) or []):
            found.setdefault(record["attack"], []).append(record)
    return found


def _stacked(rows: Sequence[Sequence[float]]) -> np.ndarray:
    """Rows of different lengths as one array, NaN where a run had no such round."""
    stacked = np.full((len(rows), max(map(len, rows))), np.nan)
    for place, row in enumerate(rows):
        stacked[place, : len(row)] = row
    return stacked


def _summed(runs: Sequence[Record]) -> dict[str, np.ndarray]:
    return {
        side: np.sum([counts for run in runs for counts in run[f"traits_confidence_{side}"]], axis=0)
        for side, _ in SIDES
    }


def plain(extractions: Iterable[Record]) -> list[Record]:
    """Return the thefts that show an attack as it is, so that no figure takes them together with others.

    Nothing is adapted, images come from the world's own sets, and of thefts that differ in their budget alone
    those of the largest are taken.
    """
    own = {name: _own_sets(name) for name in WORLDS}
    found = [
        record
        for record in extractions
        if record.get("adaptation", "none") == "none"
        and record["query_set"] in own.get(record["world"], {record["query_set"]})
    ]
    largest: dict[tuple[str, str, int], int] = {}
    for record in found:
        theft = _theft(record)
        largest[theft] = max(largest.get(theft, 0), record["budget"])
    return [record for record in found if record["budget"] == largest[_theft(record)]]


def _own_sets(world: str) -> set[str]:
    made = WORLDS[world]()
    return {made.query_set.name, made.pool.name}


def _theft(record: Record) -> tuple[str, str, int]:
    return record["world"], record["attack"], record["n_seed"]
