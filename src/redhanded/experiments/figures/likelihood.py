"""An account's mean log-likelihood as it goes on sending: Figures 10, 13 and 14 of the paper."""

from collections.abc import Mapping
from itertools import cycle

import numpy as np
from matplotlib.figure import Figure
from safetensors.numpy import load_file

from redhanded.detectors.likelihood import LikelihoodDetector
from redhanded.experiments.cells.detect import VERDICTS, Detect, Honest
from redhanded.experiments.figures import style
from redhanded.experiments.runner.context import Context
from redhanded.experiments.tables.comparison import HONEST
from redhanded.types import FeatureArray, Float64

POINTS = 400
"""Of a curve, evenly over its queries."""


def judged(
    cells: Mapping[str, Detect | Honest], context: Context
) -> tuple[LikelihoodDetector, dict[str, FeatureArray]]:
    """Return the likelihood detector that all cells share, and each stream's log-likelihoods [n, 1].

    Both are read from artefacts; raises `LookupError` if they are not at hand.
    """
    detector = next(iter(cells.values())).calibration.load(context)
    assert isinstance(detector, LikelihoodDetector)
    return detector, {
        name: load_file(context.artefact(cell) / VERDICTS)["statistic"] for name, cell in cells.items()
    }


def running_means(likelihood: FeatureArray) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """Return A_t and s_t, the spread of A_1, ..., A_t, of one uninterrupted account (paper §VI-B)."""
    counts = np.arange(1, len(likelihood) + 1)
    mean = np.cumsum(likelihood[:, 0], dtype=np.float64) / counts
    centre = np.cumsum(mean) / counts
    squares = np.cumsum(np.square(mean)) / counts
    return mean, np.sqrt((squares - np.square(centre)).clip(min=0))


def likelihood_curves(
    streams: Mapping[str, FeatureArray],
    detector: LikelihoodDetector,
    first: int | None = None,
    *,
    honest: str = HONEST,
    natural: int = 0,
) -> Figure:
    """Mean log-likelihood over queries, with beta times its spread as a band, and the threshold alpha.

    `streams` are log-likelihoods [n, 1] in the order sent, as if no account were ever closed; `first` limits
    the queries shown. An account is closed where the upper edge of its band falls below alpha. The stream
    named `honest` is drawn in grey; after `natural` queries, if they are shown, a line says that a thief's
    own images end there.
    """
    beta = -detector.threshold
    with style.styled():
        figure, axes = style.plot(3.6)
        looks = cycle(style.LOOKS)
        for name, likelihood in streams.items():
            colour, dashes = (style.HONEST_GREY, "-") if name == honest else next(looks)[:2]
            mean, spread = (part[:first] for part in running_means(likelihood))
            shown = np.unique(np.linspace(detector.warmup - 1, len(mean) - 1, POINTS).astype(int))
            shown = shown[shown < len(mean)]
            queries = shown + 1
            axes.plot(queries, mean[shown], color=colour, ls=dashes, label=name)
            low, high = (mean[shown] + edge * beta * spread[shown] for edge in (-1, 1))
            axes.fill_between(queries, low, high, color=colour, alpha=0.15, lw=0)
        axes.axhline(detector.alpha, color=style.INK, lw=1, ls=(0, (2, 2)), label="threshold (alpha)")
        axes.set(xlabel="queries", ylabel="mean log-likelihood")
        if 0 < natural < axes.get_xlim()[1]:
            axes.axvline(natural, color=style.MUTED, lw=1)
            style.note(axes, "seeds end", (natural, 0), (4, 4), axes.get_xaxis_transform(), color=style.MUTED)
        if first is None:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(style.thousands)
        return style.finish(figure, axes)
