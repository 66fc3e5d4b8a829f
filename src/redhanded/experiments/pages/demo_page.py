"""A run told to a stranger: one self-contained HTML page, four pictures, tables for the terminal."""

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from markupsafe import Markup
from matplotlib.figure import Figure
from rich import box
from rich.table import Table
from rich.text import Text

from redhanded.experiments.figures import style
from redhanded.experiments.pages import demo_figures as figures
from redhanded.experiments.pages.demo_figures import many
from redhanded.experiments.pages.demo_view import BenignRow, Row, View
from redhanded.experiments.pages.render import render


def write_report(path: Path, view: View) -> None:
    """Write the page; it loads nothing from anywhere, runs no script, and prints."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = render(
        "demo.html",
        _duration,
        _few,
        many,
        _percent,
        view=view,
        thefts=[(row.attack, _variant(row), _numbers(row)) for row in view.rows],
        honest=[(row.name, "", _benign_numbers(row)) for row in view.heldout],
        encoders=[
            (row.loss, "", [f"{row.delta:.4g}", f"{row.effective_rank:.3g}", _percent(row.first_axis_share)])
            for row in view.encoders
        ],
        calibration=_calibration(view),
        pictures={
            # it escapes all texts
            name: Markup(style.inline_svg(PICTURES[name](view), alt, name))  # noqa: S704
            for name, alt in _in_words(view).items()
        },
    )
    path.write_text(text, encoding="utf-8")


def write_pictures(directory: Path, view: View) -> list[Path]:
    """Write the four figures as PNG files and return their paths."""
    paths = []
    for name, draw in PICTURES.items():
        paths.append(directory / f"{name}.png")
        style.save_png(draw(view), paths[-1])
    return paths


def result_table(view: View) -> Table:
    """Return the attacks' bill for a terminal of 100 columns, FPR and victim below."""
    notes = [
        f"Victim accuracy {_percent(view.victim_accuracy)}.",
        *(f"FPR on {row.name}: {_fpr(row)}; target {_percent(view.fpr_target)}." for row in view.heldout),
        "Benign floor: the bans that an honest stream of the first kind and the same length makes.",
        "FPR is in whole bans; its interval follows the flags, of which 50 make a ban.",
        "Random sampling, the baseline, sends as many natural images as the others start from.",
    ]
    headings = (
        "attack",
        "extraction\naccuracy",
        "agree-\nment",
        "queries",
        "flags",
        "flag\nrate",
        "bans",
        "accounts\nused",
        "benign\nfloor",
    )
    rows = (
        (Text(row.attack, style="bold").append(f"\n{_variant(row)}", style="not bold dim"), _numbers(row))
        for row in view.rows
    )
    return _terminal_table(view.title, notes, headings, rows)


def benign_table(view: View) -> Table:
    """Return what the detector does to honest users, for a terminal of 100 columns."""
    headings = ("benign stream", "queries", "flags", "flag rate (95% interval)", "bans", "FPR (95% interval)")
    rows = ((Text(row.name), _benign_numbers(row)) for row in view.heldout)
    title = "Honest users, held out from calibration"
    return _terminal_table(title, [_calibration(view)], headings, rows, min_width=19)


def encoder_table(view: View) -> Table:
    """Return how many directions each encoder's embedding uses."""
    note = "Effective rank: exponential of the entropy of the covariance's eigenvalue shares; 1 is a line."
    headings = ("loss", "threshold δ", "effective rank", "variance on first axis")
    rows = (
        (Text(row.loss), [f"{row.delta:.4g}", f"{row.effective_rank:.1f}", _percent(row.first_axis_share)])
        for row in view.encoders
    )
    return _terminal_table("Similarity encoders", [note], headings, rows)


def _terminal_table(
    title: str,
    notes: Sequence[str],
    headings: Sequence[str],
    rows: Iterable[tuple[Text, Sequence[str]]],
    min_width: int | None = None,
) -> Table:
    """The first column holds text, at least `min_width` wide, the others numbers."""
    table = Table(
        title=Text(title, style="bold"),
        caption=Text("\n".join(notes), style="dim"),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
    )
    table.add_column(headings[0], overflow="fold", min_width=min_width)
    for heading in headings[1:]:
        table.add_column(heading, justify="right", no_wrap=True)
    for name, numbers in rows:
        table.add_row(name, *map(Text, numbers))
    return table


def _in_words(view: View) -> dict[str, str]:
    """What each picture shows, for those who do not see it."""
    told = {
        "accuracy": (
            "Line plot of extraction accuracy over queries sent",
            [
                *(
                    f"{stream.name} reaches {_percent(accuracy)} after {queries:,} queries"
                    for stream in view.attacks
                    for queries, accuracy in stream.accuracy[-1:]
                ),
                f"the victim itself {_percent(view.victim_accuracy)}",
            ],
        ),
        "flags": (
            "Line plot of cumulative flags over queries sent",
            [
                f"{stream.name} {many(int(stream.counts.sum()), 'flag')} and "
                f"{many(len(stream.bans), 'ban')} in {len(stream.counts):,} queries"
                for stream in view.streams
            ],
        ),
        "distances": (
            f"Histogram of the distance to the nearest earlier query, delta at {view.delta:.4g}",
            [
                f"{stream.name} has {_percent(float((stream.nearest < view.delta).mean()))} of queries "
                "below delta"
                for stream in view.streams
                if len(stream.nearest)
            ],
        ),
        "pairs": (
            "Flagged queries, the earlier queries they nearly repeat, and their differences",
            [
                f"{stream.name}: {many(min(len(stream.pairs), figures.SHOWN_PAIRS), 'pair')}"
                for stream in view.streams
                if stream.pairs
            ],
        ),
    }
    return {name: f"{what}: {'; '.join(ends) or 'nothing to show'}." for name, (what, ends) in told.items()}


PICTURES: dict[str, Callable[[View], Figure]] = {
    "accuracy": figures.accuracy_over_queries,
    "flags": figures.flags_over_queries,
    "distances": figures.distance_histogram,
    "pairs": figures.flagged_pairs,
}


def _variant(row: Row) -> str:
    return f"{row.fidelity}, {row.order} order, seed {row.seed}"


def _numbers(row: Row) -> list[str]:
    return [
        _percent(row.accuracy),
        _percent(row.agreement),
        f"{row.queries:,}",
        f"{row.flags:,}",
        _percent(row.flag_rate),
        f"{row.bans:,}",
        f"{row.accounts_used:,}",
        _few(row.benign_floor),
    ]


def _benign_numbers(row: BenignRow) -> list[str]:
    return [
        f"{row.length:,}",
        f"{row.flags:,}",
        _interval(row.flag_rate, row.flag_rate_low, row.flag_rate_high),
        f"{row.bans:,}",
        _fpr(row),
    ]


def _fpr(row: BenignRow) -> str:
    return _interval(row.fpr, row.fpr_low, row.fpr_high)


def _calibration(view: View) -> str:
    return (
        f"δ = {view.delta:.4g}, calibrated on {view.calibration_length:,} benign queries "
        f"to {_percent(view.fpr_target)} bans per query."
    )


def _interval(rate: float, low: float, high: float) -> str:
    digits = _digits(max(rate, high))
    return f"{100 * rate:.{digits}f}% ({100 * low:.{digits}f} to {100 * high:.{digits}f}%)"


def _percent(rate: float) -> str:
    if math.isnan(rate):
        return "n/a"
    return "0%" if rate == 0 else f"{100 * rate:.{_digits(rate)}f}%"


def _digits(rate: float) -> int:
    """Rates of 0.01% need three places, rates of 60% one."""
    return 1 if rate >= 0.1 else 2 if rate >= 0.01 else 3


def _few(number: float) -> str:
    """A count that may be fractional."""
    return f"{number:.0f}" if number >= 100 or number == int(number) else f"{number:.2g}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
