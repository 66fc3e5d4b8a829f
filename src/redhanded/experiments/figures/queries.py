"""What queries look like, drawn from extraction records: Figures 2, 3, 5 and 6 of the paper (§IV-B)."""

from collections.abc import Iterable, Sequence
from itertools import chain, cycle
from operator import itemgetter
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from redhanded.experiments.figures.style import DPI, LOOKS, MUTED, WIDTH, nothing, styled
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
            return nothing("No attack crafted its queries from others.")
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
            return nothing("No attack crafted its queries from others.")
        return _histograms([(attack, _summed(runs)) for attack, runs in shown.items()])


def confidence_over_queries(record: Record) -> Figure:
    """Histograms of predicted confidence of a data-free attack's queries as it goes on (Figure 6)."""
    with styled():
        queries = record.get("traits_queries", [])
        if not queries:
            return nothing("Nothing was generated.")
        chosen = np.unique(np.linspace(0, len(queries) - 1, min(4, len(queries))).round().astype(int))
        rows = [
            (
                f"after {queries[place]:,} queries",
                {side: np.array(record[f"traits_confidence_{side}"][place]) for side, _ in SIDES},
            )
            for place in chosen.tolist()
        ]
        return _histograms(rows)


PANELS = (
    (
        "reached its target (%)",
        100,
        {"on the surrogate": "traits_reached_surrogate", "on the victim": "traits_reached_victim"},
    ),
    ("L2 change (pixels)", 1, {"": "traits_l2"}),
    ("clone's accuracy (%)", 100, {"transfer set": "transfer_accuracy", "test set": "accuracy"}),
    ("feature directions", 1, {"": "query_effective_rank"}),
)
"""What is drawn of an attack: titles, factors, and one or two traits of a record by their labels."""


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
        (title, factor, traits)
        for title, factor, traits in PANELS
        if any(
            _mean(run.get(trait)) is not None for trait in traits.values() for run in chain(*shown.values())
        )
    ]
    with styled():
        figure = Figure(figsize=(WIDTH, 1.1 + 0.2 * len(shown)), dpi=DPI, layout="constrained")
        plots = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (title, factor, traits) in zip(plots, panels, strict=True):
            for (name, trait), (colour, _, marker) in zip(traits.items(), LOOKS, strict=False):
                drawn = [
                    (mean, row)
                    for runs, row in zip(shown.values(), rows, strict=True)
                    if (mean := _mean([_mean(run.get(trait), factor) for run in runs])) is not None
                ]
                axes.plot(*zip(*drawn, strict=True), ls="", marker=marker, ms=4, color=colour, label=name)
            axes.set_title(title, fontsize=8, loc="left", color=MUTED)
            axes.set_xlim(left=0)
            if len(traits) > 1:
                axes.legend(fontsize=6.5, loc="upper left", bbox_to_anchor=(-0.1, -0.12), handlelength=1)
        plots[0].set_yticks(rows, shown, fontsize=8)
        return figure


def _mean(found: float | list[float | None] | None, factor: int = 1) -> float | None:
    """Of what a record tells of a trait, a number or one a round, as far as it was measured."""
    values = [value for value in (found if isinstance(found, list) else [found]) if value is not None]
    return factor * float(np.mean(values)) if values else None


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
    worlds = {name: make() for name, make in WORLDS.items()}
    own = {name: {world.query_set.name, world.pool.name} for name, world in worlds.items()}
    found = [
        record
        for record in extractions
        if record.get("adaptation", "none") == "none"
        and record["query_set"] in own.get(record["world"], {record["query_set"]})
    ]
    theft = itemgetter("world", "attack", "n_seed")
    largest: dict[tuple[str, str, int], int] = {}
    for record in found:
        largest[theft(record)] = max(largest.get(theft(record), 0), record["budget"])
    return [record for record in found if record["budget"] == largest[theft(record)]]
