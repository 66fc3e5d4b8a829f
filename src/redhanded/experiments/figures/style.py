"""How every figure looks, and how it is written: matplotlib's object interface, no pyplot, no display.

Colours are chosen to be told apart by colour-blind readers (after Okabe and Ito) and to stand out on white
and on black; line style and marker repeat what colour says.
"""

import html
import io
import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Transform
from PIL import Image

WIDTH = 7.0
"""Inches; text stays readable at 100 dots an inch, the 700 pixels of a README's column."""
DPI = 144
PNG_BYTES = 110_000
"""Above this a picture is reduced to 256 colours."""
INK, MUTED, LINE, HONEST_GREY = "#1b1f24", "#59636e", "#d5dae0", "#818b96"
THEMED = {INK: "currentColor", MUTED: "var(--muted)", LINE: "var(--line)"}
"""In a page these follow the page's own light or dark colours."""
LOOKS = (
    ("#2a7fc1", "-", "o"),
    ("#d55e00", "--", "s"),
    ("#009e73", "-.", "^"),
    ("#b0609f", ":", "D"),
    ("#b08900", (0, (5, 1, 1, 1, 1, 1)), "v"),
)
Point = tuple[float | int, float | int]
STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
    "font.size": 9.5,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",
    "svg.hashsalt": "redhanded",
}


def styled() -> AbstractContextManager[None]:
    """Draw in the project's style inside."""
    return mpl.rc_context(STYLE)


def save_png(figure: Figure, path: Path) -> None:
    """Write `figure` as a PNG of about 1,000 pixels' width; equal figures give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(figure))


def save_svg(figure: Figure, path: Path) -> None:
    """Write `figure` as an SVG whose text stays text; equal figures give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with styled():
        figure.savefig(path, format="svg", metadata={"Date": None})


def inline_svg(figure: Figure, alt: str, prefix: str) -> str:
    """Return an `<svg>` element for an HTML page whose colours it takes; `prefix` keeps its ids apart."""
    buffer = io.StringIO()
    with styled():
        figure.patch.set_alpha(0)
        for axes in figure.axes:
            axes.patch.set_alpha(0)
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # HTML needs no namespaces: what is left of the text loads nothing from anywhere
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'href="#', f'href="#{prefix}-', text)
    text = text.replace("url(#", f"url(#{prefix}-")
    for colour, themed in THEMED.items():
        text = text.replace(colour, themed)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    return text.replace("<svg", f'<svg role="img" aria-label="{html.escape(alt)}"', 1).strip()


def png(figure: Figure) -> bytes:
    """Return the figure as the bytes of a PNG; equal figures give equal bytes."""
    raw, small = io.BytesIO(), io.BytesIO()
    with styled():
        figure.savefig(raw, format="png", metadata={"Software": None})
    image = Image.open(raw).convert("RGB")
    image.save(small, "PNG", optimize=True)
    if small.tell() > PNG_BYTES:
        # a palette costs the thumbnails' smooth shades, so only where many pairs of noisy images ask for it
        small = io.BytesIO()
        image.quantize(256).save(small, "PNG", optimize=True)
    return small.getvalue()


def plot(height: float) -> tuple[Figure, Axes]:
    """Return a figure of one plot, `height` inches tall."""
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    return figure, figure.add_subplot()


def finish(figure: Figure, axes: Axes, *extra: Line2D) -> Figure:
    """Add the legend above and group thousands; return the figure."""
    if axes.get_xscale() == "linear":
        axes.xaxis.set_major_formatter(thousands)
    handles, _ = axes.get_legend_handles_labels()
    figure.legend(
        handles=[*handles, *extra], loc="outside upper left", ncols=2, columnspacing=1.6, borderaxespad=0.2
    )
    return figure


def nothing(why: str) -> Figure:
    """Say why there is nothing to draw."""
    figure, axes = plot(0.6)
    axes.set_axis_off()
    axes.text(0, 0.5, why, ha="left", va="center", color=MUTED, transform=axes.transAxes)
    return figure


def note(
    axes: Axes,
    text: str,
    at: Point,
    shift: Point,
    within: str | Transform,
    ha: str = "left",
    va: str = "baseline",
    color: str = INK,
) -> None:
    """Write text `shift` points from a place that is told in the coordinates `within`."""
    axes.annotate(text, at, shift, xycoords=within, textcoords="offset points", ha=ha, va=va, color=color)


def gain(most: float, room: float) -> int:
    """Return by which power of two, up to 16, changes can be amplified; the largest then fits `room`."""
    return next(gain for gain in (16, 8, 4, 2, 1) if gain * most <= room or gain == 1)


def thousands(value: float, _place: object) -> str:
    """Format a tick with groups of thousands."""
    return f"{value:,.0f}"
