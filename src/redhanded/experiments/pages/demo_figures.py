"""The report's four figures."""

from collections.abc import Iterator
from itertools import cycle
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from redhanded.experiments.figures import style
from redhanded.experiments.figures.style import INK, LOOKS, MUTED, finish, note, nothing, plot, styled
from redhanded.experiments.pages.demo_view import FlaggedPair, Stream, View
from redhanded.types import Float64, Int

SHOWN_PAIRS = 6
"""Pairs shown of each stream."""


def accuracy_over_queries(view: View) -> Figure:
    """Extraction accuracy of each clone against queries sent; the victim's own accuracy is the ceiling."""
    with styled():
        figure, axes = plot(3.5)
        for stream, (colour, dashes, marker) in zip(view.attacks, cycle(LOOKS), strict=False):
            if not stream.accuracy:
                continue
            queries, accuracy = np.asarray(stream.accuracy, float).T
            label = f"{stream.name}: {accuracy[-1]:.1%} after {queries[-1]:,.0f} queries"
            axes.plot(queries, 100 * accuracy, color=colour, ls=dashes, marker=marker, ms=5, label=label)
        if not axes.lines:
            return nothing("No clone was measured along the way.")
        axes.axhline(100 * view.victim_accuracy, color=MUTED, lw=1.2, ls=(0, (2, 2)))
        text, at = f"the victim itself: {view.victim_accuracy:.1%}", (1, 100 * view.victim_accuracy)
        note(axes, text, at, (0, -4), axes.get_yaxis_transform(), ha="right", va="top", color=MUTED)
        axes.set(xlabel="queries sent", ylabel="extraction accuracy (%)", ylim=(0, 104))
        axes.set_xlim(left=0)
        return finish(figure, axes)


def flags_over_queries(view: View) -> Figure:
    """Cumulative flags of each stream against queries, each ban as a tick on the line."""
    with styled():
        figure, axes = plot(3.7)
        for stream, colour, dashes, _ in _looks(view):
            n = len(stream.counts)
            total = np.concatenate([[0], np.cumsum(stream.counts)])
            # a vertex every pixel or so, and one for each tick: 50,000 queries stay a small drawing
            x = np.union1d(np.linspace(0, n, 401).astype(int), stream.bans + 1)
            y = total[x]
            label = f"{stream.name}: {many(int(y[-1]), 'flag')}, {many(len(stream.bans), 'ban')}"
            axes.plot(x, y, color=colour, ls=dashes, label=label)
            axes.plot(
                stream.bans + 1, total[stream.bans + 1], color=colour, ls="none", marker="|", ms=11, mew=1.6
            )
        if not axes.lines:
            return nothing("No stream was watched.")
        axes.set(xlabel="queries sent", ylabel="flags so far")
        axes.set_xlim(left=0)
        axes.set_ylim(0, max(axes.get_ylim()[1], 5))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_formatter(style.thousands)
        tick = Line2D(
            [], [], color=INK, ls="none", marker="|", ms=11, mew=1.6, label="a ban: the account is closed"
        )
        return finish(figure, axes, tick)


def distance_histogram(view: View) -> Figure:
    """How near each query comes to an earlier one of its account; left of delta it is flagged."""
    with styled():
        figure, axes = plot(3.7)
        finite = [stream.nearest[np.isfinite(stream.nearest)] for stream in view.streams]
        seen = np.concatenate([*finite, np.empty(0)])
        if not (seen > 0).any():
            return nothing("No query came near an earlier one of its account.")
        bins = _bins(seen[seen > 0], view.delta)
        low, high = bins[0], bins[-1]
        for stream, colour, dashes, honest in _looks(view):
            share = _shares(stream.nearest, bins)
            label = f"{stream.name}{_uncounted(stream.nearest)}"
            below = 1 if honest else 2
            axes.stairs(share, bins, color=colour, ls=dashes, fill=False, lw=1.7, label=label, zorder=below)
            axes.stairs(
                share, bins, color=colour, fill=True, alpha=0.35 if honest else 0.1, lw=0, zorder=below
            )
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 200 * low else (1,)))
        axes.xaxis.set_major_formatter(lambda value, _place: f"{value:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        if view.delta > 0:
            axes.axvline(view.delta, color=INK, lw=1.3, ls=(0, (4, 2)))
            right = view.delta < np.sqrt(low * high)
            text, shift = f"δ = {view.delta:.4g}\n← flagged", (6 if right else -6, -3)
            side = "left" if right else "right"
            note(axes, text, (view.delta, 1), shift, axes.get_xaxis_transform(), ha=side, va="top")
        axes.set(
            xlim=(low, high),
            xlabel="L2 distance to the nearest earlier query of the account (feature units, log scale)",
            ylabel="share of the stream (%)",
        )
        axes.set_ylim(bottom=0, top=axes.get_ylim()[1] * 1.1)
        return finish(figure, axes)


def flagged_pairs(view: View) -> Figure:
    """Strips of flagged queries over what gave them away, with their amplified difference."""
    streams = [stream for stream in view.streams if stream.pairs]
    with styled():
        if not streams:
            return nothing("No flagged pair to show.")
        figure = Figure(figsize=(style.WIDTH, 3.35 * len(streams)), dpi=style.DPI)
        strips = figure.subfigures(len(streams), 1, squeeze=False)[:, 0]
        for stream, strip in zip(streams, strips, strict=True):
            pairs = stream.pairs[:SHOWN_PAIRS]
            # nearly all differences show without clipping
            gain = style.gain(float(np.percentile([np.abs(_difference(pair)) for pair in pairs], 99)), 127.0)
            names = (
                "query",
                "nearest\nearlier query",
                f"difference\n\N{MULTIPLICATION SIGN}{gain}, grey\nis none",
            )
            strip.suptitle(stream.name, x=0.01, ha="left", va="top", y=0.985, fontsize=10.5, weight="bold")
            cells = strip.subplots(
                3, SHOWN_PAIRS, squeeze=False, gridspec_kw={"hspace": 0.06, "wspace": 0.06}
            )
            strip.subplots_adjust(left=0.15, right=0.99, top=0.9, bottom=0.09)
            for row, name in enumerate(names):
                note(cells[row, 0], name, (0, 0.5), (-8, 0), "axes fraction", ha="right", va="center")
            for cell in cells.flat:
                cell.set_axis_off()
            for pair, column in zip(pairs, cells.T, strict=False):
                grey_based = np.clip(128 + gain * _difference(pair), 0, 255).astype(np.uint8)
                for cell, image in zip(column, (pair.query, pair.neighbour, grey_based), strict=True):
                    cell.imshow(image, interpolation="none")
                _below(column[2], 0.5, f"{pair.distance:.2g}", "center")
            _below(cells[2, 0], -0.07, "distance", "right")
        return figure


def _looks(view: View) -> Iterator[tuple[Stream, str, Any, bool]]:
    """Attacks in colour, then the honest stream in grey."""
    for stream, (colour, dashes, _) in zip(view.attacks, cycle(LOOKS), strict=False):
        yield stream, colour, dashes, False
    if view.honest is not None:
        yield view.honest, style.HONEST_GREY, "-", True


def many(number: int, noun: str) -> str:
    """Return a count and its noun, in the plural where it needs one."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _bins(seen: Float64[np.ndarray, " k"], delta: float, number: int = 48) -> Float64[np.ndarray, " b"]:
    """About `number` bins of equal width on a log axis, delta being an edge: no bin is half flagged."""
    middle = delta if delta > 0 else float(seen.min())
    low, high = np.log(min(float(seen.min()), middle) / 1.05), np.log(max(float(seen.max()), middle) * 1.05)
    step = (high - low) / number
    edges = np.arange(np.floor((low - np.log(middle)) / step), np.ceil((high - np.log(middle)) / step) + 1)
    bins: Float64[np.ndarray, " b"] = middle * np.exp(step * edges)
    return bins


def _shares(nearest: Float64[np.ndarray, " n"], bins: Float64[np.ndarray, " b"]) -> Float64[np.ndarray, " k"]:
    """Percent of the whole stream in each bin, so what is not drawn is missing from the sum."""
    counts, _ = np.histogram(nearest[np.isfinite(nearest) & (nearest > 0)], bins)
    share: Float64[np.ndarray, " k"] = 100 * counts / max(len(nearest), 1)
    return share


def _uncounted(nearest: Float64[np.ndarray, " n"]) -> str:
    """What a logarithmic axis of a searched radius cannot show."""
    if not len(nearest):
        return ""
    far, equal = 1 - np.isfinite(nearest).mean(), (nearest == 0).mean()
    notes = [f"{far:.0%} beyond this scale"] if far > 0 else []
    notes += [f"{equal:.0%} exact copies"] if equal > 0 else []
    return f" ({', '.join(notes)})" if notes else ""


def _below(axes: Axes, x: float, text: str, side: Literal["center", "right"]) -> None:
    axes.text(x, -0.06, text, ha=side, va="top", transform=axes.transAxes)


def _difference(pair: FlaggedPair) -> Int[np.ndarray, "32 32 3"]:
    difference: Int[np.ndarray, "32 32 3"] = pair.query.astype(int) - pair.neighbour.astype(int)
    return difference
