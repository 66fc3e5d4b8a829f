"""A run told to a stranger: one self-contained HTML page, four pictures, two tables for the terminal."""

import html
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from rich import box
from rich.table import Table
from rich.text import Text

from redhanded.experiments.figures import style
from redhanded.experiments.pages import demo_figures as figures
from redhanded.experiments.pages.demo_view import BenignRow, Row, View

__all__ = ["benign_table", "result_table", "write_pictures", "write_report"]

GLOSSARY = (
    ("query", "One image sent to the victim for an answer."),
    (
        "flag",
        "One query judged suspicious: its nearest earlier query from the same account lies closer than δ.",
    ),
    (
        "ban",
        "The flag that fills an account's quota (50) closes it; the thief goes on with a new, empty one.",
    ),
    ("accounts used", "Accounts that sent at least one query. This is what the theft cost."),
    (
        "benign floor",
        "The bans that an honest stream of the same length makes. Bans mean something only above it.",
    ),
    ("FPR", "False-positive rate: bans per benign query, with its 95% interval."),
    (
        "extraction accuracy",
        "Share of test images that the thief's clone classifies correctly.",
    ),
    ("agreement", "Share of test images on which clone and victim give the same answer, right or wrong."),
    ("fidelity", "“released” follows the paper's published code, “corrected” its text."),
    ("order", "The order in which a round's queries are sent; it changes how soon near-copies meet."),
    (
        "effective rank",
        "How many directions the encoder's embedding really uses; near 1 all images lie along one line.",
    ),
)

STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--muted:#59636e;--line:#d5dae0;--paper:#fff;--wash:#f5f7f9}
@media(prefers-color-scheme:dark){:root{--ink:#e8ebee;--muted:#a3adb8;--line:#3a424b;--paper:#15181c;--wash:#1e2328}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,sans-serif}
main{max-width:60rem;margin:0 auto;padding:2rem 1.25rem 4rem}
h1{font-size:1.8rem;line-height:1.2;margin:0 0 .4rem}
h2{font-size:1.25rem;margin:2.6rem 0 .4rem}
p,dd{max-width:46rem;text-wrap:pretty}p{margin:.4rem 0 .8rem}
.muted,caption{color:var(--muted)}
.short{background:var(--wash);border-left:4px solid #d55e00;padding:.7rem 1.1rem;margin:1.2rem 0}
.short ul{margin:.2rem 0;padding-left:1.1rem}.short li{margin:.3rem 0}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.92rem;font-variant-numeric:tabular-nums}
caption{text-align:left;padding:.3rem 0;font-size:.88rem}
th,td{padding:.4rem .6rem;border-bottom:1px solid var(--line);text-align:right;vertical-align:baseline}
td{white-space:nowrap}
thead th{border-bottom:2px solid var(--muted);line-height:1.25;vertical-align:bottom}
th.words,td.words{text-align:left}
th small{font-weight:400;color:var(--muted);white-space:nowrap}
.mark{background:var(--wash)}
figure{margin:.8rem 0;overflow-x:auto}
figure svg{display:block;width:100%;max-width:760px;min-width:32rem;height:auto}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.35rem 1.2rem;margin:.6rem 0}
dt{font-weight:600}dd{margin:0;overflow-wrap:anywhere}
@media(max-width:36rem){dl{display:block}dd{margin:0 0 .5rem}}
@media print{:root{--ink:#000;--muted:#444;--line:#bbb;--paper:#fff;--wash:#f3f3f3;color-scheme:light}
body{font-size:11pt}main{max-width:none;padding:0}.scroll{overflow:visible}
figure,table,.short,dt,dd{break-inside:avoid}h2{break-after:avoid}}
"""

PICTURES: dict[str, Callable[[View], Figure]] = {
    "accuracy": figures.accuracy_over_queries,
    "flags": figures.flags_over_queries,
    "distances": figures.distance_histogram,
    "pairs": figures.flagged_pairs,
}


def write_report(path: Path, view: View) -> None:
    """Write the page; it loads nothing from anywhere, runs no script, and prints."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_page(view), encoding="utf-8")


def write_pictures(directory: Path, view: View) -> list[Path]:
    """Write the four figures as PNG files and return their paths."""
    paths = []
    for name, draw in PICTURES.items():
        paths.append(directory / f"{name}.png")
        style.save_png(draw(view), paths[-1])
    return paths


def result_table(view: View) -> Table:
    """Return the attacks' bill for a terminal of 100 columns, FPR and victim below."""
    notes = [f"Victim accuracy {_percent(view.victim_accuracy)}."]
    notes += [f"FPR on {row.name}: {_fpr(row)}; target {_percent(view.fpr_target)}." for row in view.heldout]
    notes += [
        "Benign floor: the bans that an honest stream of the first kind and the same length makes.",
        "FPR is in whole bans; its interval follows the flags, of which 50 make a ban.",
        "Random sampling, the baseline, sends as many natural images as the others start from.",
    ]
    table = _terminal_table(view.title, notes)
    table.add_column("attack", overflow="fold")
    for name in (
        "extraction\naccuracy",
        "agree-\nment",
        "queries",
        "flags",
        "flag\nrate",
        "bans",
        "accounts\nused",
        "benign\nfloor",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for row in view.rows:
        attack = Text(row.attack, style="bold").append(f"\n{_variant(row)}", style="not bold dim")
        table.add_row(attack, *(Text(text) for text in _numbers(row)))
    return table


def benign_table(view: View) -> Table:
    """Return what the detector does to honest users, for a terminal of 100 columns."""
    table = _terminal_table("Honest users, held out from calibration", [_calibration(view)])
    table.add_column("benign stream", overflow="fold", min_width=19)
    for name in ("queries", "flags", "flag rate (95% interval)", "bans", "FPR (95% interval)"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in view.heldout:
        table.add_row(Text(row.name), *(Text(text) for text in _benign_numbers(row)))
    return table


def encoder_table(view: View) -> Table:
    """Return how many directions each encoder's embedding uses."""
    note = "Effective rank: exponential of the entropy of the covariance's eigenvalue shares; 1 is a line."
    table = _terminal_table("Similarity encoders", [note])
    table.add_column("loss")
    for name in ("threshold δ", "effective rank", "variance on first axis"):
        table.add_column(name, justify="right")
    for row in view.encoders:
        share = _percent(row.first_axis_share)
        table.add_row(row.loss, f"{row.delta:.4g}", f"{row.effective_rank:.1f}", share)
    return table


def _terminal_table(title: str, notes: Sequence[str]) -> Table:
    return Table(
        title=Text(title, style="bold"),
        caption=Text("\n".join(notes), style="dim"),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
    )


def _page(view: View) -> str:
    title = html.escape(view.title)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{title} · redhanded</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<header>
<h1>{title}</h1>
<p class="muted">{html.escape(_setting(view))}</p>
</header>
{_short(view)}
{_bill(view)}
{_plots(view)}
{_benign(view)}
{_detector(view)}
{_glossary()}
{_provenance(view)}
</main>
</body>
</html>
"""


def _setting(view: View) -> str:
    scale = "" if view.world == "paper" else ", at a reduced scale: not a reproduction of the paper's figures"
    return f"World “{view.world}”{scale}. Measured in {_duration(view.seconds)}."


def _short(view: View) -> str:
    items = "".join(f"<li>{_sentence(row)}</li>\n" for row in view.rows)
    return (
        '<section class="short" aria-label="In short">\n'
        "<p>A thief sends queries to a classifier and trains a clone on the answers. A guard watches each "
        "account and closes it when too many queries are near-copies of earlier ones. "
        f"The classifier is right on {_percent(view.victim_accuracy)} of test images.</p>\n"
        f"<ul>\n{items}</ul>\n</section>"
    )


def _sentence(row: Row) -> str:
    if row.bans == 0:
        verdict = "The thief was never banned"
    elif row.bans <= row.benign_floor:
        verdict = f"{_many(row.bans, 'account')} closed, no more than an honest user would lose"
    else:
        verdict = f"{_many(row.bans, 'account')} closed"
    return (
        f"<strong>{html.escape(row.attack)}</strong>: {row.queries:,} queries bought a clone that is "
        f"right on {_percent(row.accuracy)} of test images. {verdict}; an honest stream of the same length "
        f"of the first kind below makes {_few(row.benign_floor)} bans."
    )


def _bill(view: View) -> str:
    headings = (
        "extraction accuracy",
        "agreement",
        "queries",
        "flags",
        "flag rate",
        "bans",
        "accounts used",
        "benign floor",
    )
    rows = [[f"{row.attack}\n{_variant(row)}", *_numbers(row)] for row in view.rows]
    table = _table(
        "Accuracy and agreement: higher is better for the thief. Bans: compare with the benign floor.",
        ("attack", *headings),
        rows,
        words=1,
        marked=(6, 7, 8),
    )
    return _section(
        "The bill",
        "Each line is one theft: how good the clone became on the left, and what it cost on the right. "
        "Bans count against the thief only as far as they exceed the benign floor beside them.",
        table,
    )


def _plots(view: View) -> str:
    return "\n".join(
        (
            _section(
                "What the queries bought",
                "The higher a line, the better the clone after that many queries; "
                "the dotted line is the classifier it imitates.",
                _figure(view, "accuracy", _accuracy_alt(view)),
            ),
            _section(
                "When the thief was caught",
                "Each line counts the flags of one stream, each tick is a closed account. "
                "The grey line is an honest user: it should stay near the bottom.",
                _figure(view, "flags", _flags_alt(view)),
            ),
            _section(
                "Why the detector can tell",
                "A query left of the threshold δ nearly repeats an earlier one and is flagged. "
                "The less a thief's curve overlaps the grey one left of δ, the easier the catch.",
                _figure(view, "distances", _distances_alt(view)),
            ),
            _section(
                "What was flagged",
                "In each column, the top image was flagged because the one below it had been sent earlier; "
                "the third row shows the difference. Pairs of random sampling and of the honest user are "
                "false positives: two different photographs that the encoder takes for near-copies.",
                _figure(view, "pairs", _pairs_alt(view)),
            ),
        )
    )


def _benign(view: View) -> str:
    table = _table(
        "Benign streams that calibration never saw. Intervals are 95%.",
        ("benign stream", "queries", "flags", "flag rate (interval)", "bans", "FPR (interval)"),
        [[row.name, *_benign_numbers(row)] for row in view.heldout],
        words=1,
        marked=(5,),
    )
    return _section(
        "What an honest user pays",
        f"The FPR is the bans per honest query. It was tuned to {_percent(view.fpr_target)}; "
        "where even the interval's low end lies above that, the threshold does not hold for that stream.",
        table,
    )


def _detector(view: View) -> str:
    table = _table(
        "Encoders trained for this run.",
        ("training loss", "δ (feature units)", "effective rank", "variance on the first axis"),
        [
            [row.loss, f"{row.delta:.4g}", f"{row.effective_rank:.3g}", _percent(row.first_axis_share)]
            for row in view.encoders
        ],
        words=1,
    )
    return _section(
        "The detector",
        f"{_calibration(view)} "
        "An encoder whose variance falls on one axis compares images by a single number.",
        table,
    )


def _glossary() -> str:
    return _section("Words", "What the terms on this page mean.", _definitions(GLOSSARY))


def _provenance(view: View) -> str:
    facts = [("world", view.world), ("duration", _duration(view.seconds)), *view.provenance.items()]
    return _section("Provenance", "What produced these figures.", _definitions(facts))


def _section(heading: str, how_to_read: str, body: str) -> str:
    return (
        f"<section>\n<h2>{html.escape(heading)}</h2>\n<p>{html.escape(how_to_read)}</p>\n{body}\n</section>"
    )


def _figure(view: View, name: str, alt: str) -> str:
    return f"<figure>{style.inline_svg(PICTURES[name](view), alt, name)}</figure>"


def _definitions(pairs: Iterable[tuple[str, str]]) -> str:
    lines = (f"<dt>{html.escape(term)}</dt><dd>{html.escape(meaning)}</dd>" for term, meaning in pairs)
    return "<dl>\n" + "\n".join(lines) + "\n</dl>"


def _table(
    caption: str,
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    words: int,
    marked: Sequence[int] = (),
) -> str:
    """The first `words` columns hold text, the others numbers; `marked` columns belong together.

    A cell's second line is its small print.
    """
    if not rows:
        return '<p class="muted">Not measured in this run.</p>'

    def cell(tag: str, place: int, text: str, scope: str = "") -> str:
        classes = " ".join(name for name, yes in (("words", place < words), ("mark", place in marked)) if yes)
        classes = f' class="{classes}"' if classes else ""
        first, *rest = html.escape(text).split("\n")
        lines = [first, *(f"<small>{line}</small>" for line in rest)]
        return f"<{tag}{scope}{classes}>{'<br>'.join(lines)}</{tag}>"

    head = "".join(cell("th", place, text, ' scope="col"') for place, text in enumerate(headings))
    body = "\n".join(
        "<tr>"
        + cell("th", 0, row[0], ' scope="row"')
        + "".join(cell("td", place, text) for place, text in enumerate(row) if place)
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{html.escape(caption)}">\n'
        f"<table>\n<caption>{html.escape(caption)}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def _accuracy_alt(view: View) -> str:
    ends = [
        f"{stream.name} reaches {_percent(stream.accuracy[-1][1])} after {stream.accuracy[-1][0]:,} queries"
        for stream in view.attacks
        if stream.accuracy
    ]
    return _alt(
        "Line plot of extraction accuracy over queries sent",
        [*ends, f"the victim itself {_percent(view.victim_accuracy)}"],
    )


def _flags_alt(view: View) -> str:
    ends = [
        f"{stream.name} {_many(int(stream.counts.sum()), 'flag')} and {_many(len(stream.bans), 'ban')} "
        f"in {len(stream.counts):,} queries"
        for stream in view.streams
    ]
    return _alt("Line plot of cumulative flags over queries sent", ends)


def _distances_alt(view: View) -> str:
    ends = [
        f"{stream.name} has {_percent(float((stream.nearest < view.delta).mean()))} of queries below delta"
        for stream in view.streams
        if len(stream.nearest)
    ]
    return _alt(
        f"Histogram of the distance to the nearest earlier query, delta at {view.delta:.4g}",
        ends,
    )


def _pairs_alt(view: View) -> str:
    ends = [
        f"{stream.name}: {_many(min(len(stream.pairs), figures.SHOWN_PAIRS), 'pair')}"
        for stream in view.streams
        if stream.pairs
    ]
    return _alt("Flagged queries, the earlier queries they nearly repeat, and their differences", ends)


def _alt(what: str, ends: Sequence[str]) -> str:
    return f"{what}: {'; '.join(ends) or 'nothing to show'}."


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


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
