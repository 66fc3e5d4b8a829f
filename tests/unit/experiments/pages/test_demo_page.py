import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from redhanded.experiments.figures import style
from redhanded.experiments.pages import demo_figures as figures
from redhanded.experiments.pages.demo_page import benign_table, result_table, write_pictures, write_report
from redhanded.experiments.pages.demo_view import (
    HONEST,
    BenignRow,
    EncoderRow,
    FlaggedPair,
    Row,
    Stream,
    View,
)

N = 2500
DELTA = 0.32
VOID = {"meta", "link", "img", "br", "hr", "input", "col", "source"}


def stream_of(name, generator, share, pairs, accuracy):
    near = generator.random(N) < share
    nearest = np.where(
        near, DELTA * generator.beta(4, 2, N), DELTA * np.exp(np.abs(generator.normal(0.9, 0.35, N)))
    )
    nearest[nearest > 4 * DELTA] = np.inf
    counts = (nearest < DELTA).astype(np.int64)
    bans = np.flatnonzero(counts & (np.cumsum(counts) % 50 == 0))
    shown = []
    for _ in range(pairs):
        ramp = np.linspace(30, 220, 32)[:, None, None] * generator.uniform(0.4, 1, 3)
        blob = (np.hypot(*(np.mgrid[:32, :32] - generator.integers(8, 24, 2)[:, None, None])) < 8)[..., None]
        neighbour = np.clip(ramp + 90 * blob, 0, 255)
        query = np.clip(neighbour + generator.choice([-8, 0, 8], neighbour.shape), 0, 255)
        shown.append(
            FlaggedPair(query.astype(np.uint8), neighbour.astype(np.uint8), DELTA * generator.random())
        )
    return Stream(name, counts, bans, nearest, tuple(shown), accuracy)


def row_of(stream, order, agreement):
    flags, bans = int(stream.counts.sum()), len(stream.bans)
    return Row(
        attack=stream.name,
        fidelity="corrected",
        order=order,
        accuracy=stream.accuracy[-1][1],
        agreement=agreement,
        queries=N,
        flags=flags,
        flag_rate=flags / N,
        bans=bans,
        accounts_used=bans + 1,
        benign_floor=0.25,
        seed=0,
    )


def make_view():
    generator = np.random.default_rng(0)
    steps = (100, 200, 400, 800, 1600, 2500)
    jb = stream_of(
        "JB-top3",
        generator,
        0.55,
        6,
        tuple(zip(steps, (0.31, 0.4, 0.52, 0.61, 0.68, 0.713), strict=True)),
    )
    pgd = stream_of(
        "JBA-PGD",
        generator,
        0.21,
        4,
        tuple(zip(steps, (0.3, 0.38, 0.49, 0.56, 0.61, 0.647), strict=True)),
    )
    honest = stream_of(HONEST, generator, 0.004, 2, ())
    return View(
        title="A thief against a guarded digit classifier",
        world="demo",
        victim_accuracy=0.942,
        rows=(row_of(jb, "source", 0.739), row_of(pgd, "batch64", 0.668)),
        streams=(jb, pgd, honest),
        delta=DELTA,
        fpr_target=1e-4,
        calibration_length=20_000,
        heldout=(BenignRow("same digits", 10_000, 47, 0.0047, 0.00345, 0.00624, 1, 1e-4, 0.7e-4, 1.3e-4),),
        encoders=(
            EncoderRow("released", 0.32, 1.07, 0.987),
            EncoderRow("per pair", 0.096, 5.4, 0.41),
        ),
        seconds=243.0,
        provenance={"revision": "0904136", "torch": "2.13.0+cpu", "device": "cpu", "machine": "2 cores"},
    )


@pytest.fixture(scope="module")
def view():
    return make_view()


def bare_view():
    """Nothing measured, nothing flagged."""
    quiet = Stream("JB-top3", np.zeros(10, np.int64), np.empty(0, np.int64), np.full(10, np.inf))
    none = Stream(HONEST, np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    row = Row("JB-top3", "released", "source", 0.1, float("nan"), 10, 0, 0.0, 0, 1, 0.001, 3)
    return replace(make_view(), rows=(row,), streams=(quiet, none), heldout=(), encoders=(), provenance={})


class Page(HTMLParser):
    """Collects text, ids and whatever a browser would load; fails on tags that do not match."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.loads, self.tags, self.text = [], [], [], [], ""

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        self.loads += [
            value for name, value in attrs if name in {"src", "href", "xlink:href", "data", "action"}
        ]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data


def read(path):
    page = Page()
    page.feed(path.read_text("utf-8"))
    page.close()
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    return page


def test_report_stands_alone_and_says_all(tmp_path, view):
    write_report(tmp_path / "runs" / "report.html", view)
    page = read(tmp_path / "runs" / "report.html")
    source = (tmp_path / "runs" / "report.html").read_text("utf-8")
    assert not re.search(r"(?i)https?://|<script|@import|url\((?!#)", source)
    assert all(value.startswith(("#", "data:image/png;base64,")) for value in page.loads)
    assert {value[1:] for value in page.loads if value.startswith("#")} <= set(page.ids)
    for row in view.rows:
        numbers = (row.accuracy, row.agreement, row.flag_rate)
        expected = [row.attack, row.fidelity, row.order, *(f"{100 * number:.1f}%" for number in numbers)]
        expected += [f"{number:,}" for number in (row.queries, row.flags, row.bans, row.accounts_used)]
        for text in [*expected, "0.25"]:
            assert text in page.text
    for text in (
        "0.010% (0.007 to 0.013%)",
        "94.2%",
        "1.07",
        "5.4",
        "0.096",
        "20,000",
        "0904136",
        "4 min 3 s",
    ):
        assert text in page.text
    for word in ("flag", "ban", "benign floor", "agreement", "extraction accuracy"):
        assert word in page.text.lower()
    pictures = [attrs for tag, attrs in page.tags if tag == "svg"]
    assert len(pictures) == 4
    assert all(len(picture["aria-label"]) > 40 for picture in pictures)
    assert all("scope" in attrs for tag, attrs in page.tags if tag == "th")


def test_nothing_is_taken_for_markup(tmp_path, view):
    evil = '<script>alert("x")</script>[bold]&amp;'
    streams = (replace(view.streams[0], name=evil), *view.streams[1:])
    nasty = replace(
        view,
        title=evil,
        world=evil,
        rows=(replace(view.rows[0], attack=evil, order=evil, fidelity=evil),),
        streams=streams,
        heldout=(replace(view.heldout[0], name=evil),),
        encoders=(replace(view.encoders[0], loss=evil),),
        provenance={evil: evil},
    )
    write_report(tmp_path / "report.html", nasty)
    page = read(tmp_path / "report.html")
    assert not [tag for tag, _ in page.tags if tag == "script"]
    assert page.text.count(evil) >= 8
    assert "[bold]" in shown(result_table(nasty), 200)
    assert "[bold]" in shown(benign_table(nasty), 200)


def test_a_stream_of_50000_queries_stays_a_small_drawing(view):
    counts = np.ones(50_000, np.int64)
    long = Stream("JB-top3", counts, np.arange(49, 50_000, 50), np.full(50_000, 0.1))
    drawing = style.inline_svg(
        figures.flags_over_queries(replace(view, streams=(long,))), "many bans", "flags"
    )
    assert len(drawing) < 400_000


def test_nothing_to_show_does_not_crash(tmp_path):
    write_report(tmp_path / "report.html", bare_view())
    page = read(tmp_path / "report.html")
    assert "never banned" in page.text
    assert "nan" not in page.text.lower().split()
    write_pictures(tmp_path, bare_view())
    nobody = replace(bare_view(), rows=(), streams=())
    write_report(tmp_path / "report.html", nobody)
    write_pictures(tmp_path, nobody)
    assert shown(result_table(nobody), 100)
    assert shown(benign_table(nobody), 100)


def test_no_more_bans_than_an_honest_user_is_said(tmp_path, view):
    few = replace(view, rows=(replace(view.rows[0], bans=1, accounts_used=2, benign_floor=1.0),))
    write_report(tmp_path / "report.html", few)
    assert "no more than an honest user" in read(tmp_path / "report.html").text


def test_exact_copies_and_far_queries_are_stated(view):
    nearest = np.full(N, 0.1)
    nearest[: N // 4] = 0.0
    nearest[N // 4 : N // 2] = np.inf
    odd = replace(view, streams=(replace(view.streams[0], nearest=nearest),))
    figure = figures.distance_histogram(odd)
    (label,) = [text.get_text() for text in figure.legends[0].get_texts()]
    assert label == "JB-top3 (25% beyond this scale, 25% exact copies)"
    drawn = figure.axes[0].patches[0].get_data()
    assert drawn.values.sum() == pytest.approx(50)
    assert np.isclose(drawn.edges, DELTA).any()


def test_each_bin_is_wholly_flagged_or_wholly_not(view):
    drawn = figures.distance_histogram(view).axes[0].patches[0].get_data()
    flagged = drawn.values[drawn.edges[1:] <= DELTA * (1 + 1e-9)].sum()
    assert flagged == pytest.approx(100 * (view.streams[0].nearest < DELTA).mean())


def test_flags_figure_marks_each_ban(view):
    axes = figures.flags_over_queries(view).axes[0]
    line, ticks = axes.lines[:2]
    jb = view.streams[0]
    assert line.get_ydata()[-1] == jb.counts.sum()
    assert ticks.get_xdata().tolist() == (jb.bans + 1).tolist()
    assert ticks.get_ydata().tolist() == [50 * (k + 1) for k in range(len(jb.bans))]


def test_pictures_are_small_and_repeat(tmp_path, view):
    first = write_pictures(tmp_path / "a", view)
    second = write_pictures(tmp_path / "b", make_view())
    assert [path.name for path in first] == ["accuracy.png", "flags.png", "distances.png", "pairs.png"]
    for one, two in zip(first, second, strict=True):
        assert one.read_bytes() == two.read_bytes()
        assert one.stat().st_size < 120_000
        with Image.open(one) as image:
            assert image.width == pytest.approx(1008, abs=2)
    figure = figures.flags_over_queries(view)
    assert style.inline_svg(figure, "a", "f") == style.inline_svg(figure, "a", "f")


def shown(table, width):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(table)
    return console.file.getvalue()


def test_terminal_tables_fit_100_columns(view):
    long = replace(
        view, rows=tuple(replace(row, queries=50_000, flags=48_123, bans=962) for row in view.rows)
    )
    text = shown(result_table(long), 100)
    assert "…" not in text
    for expected in ("JB-top3", "71.3%", "73.9%", "50,000", "48,123", "962", "0.25", "0.007 to 0.013%"):
        assert expected in text
    text = shown(benign_table(view), 100)
    assert "…" not in text
    for expected in ("same digits", "10,000", "47", "0.470% (0.345 to 0.624%)", "0.010% (0.007 to 0.013%)"):
        assert expected in text
