"""Figures 10 and 12 to 14, which are drawn from artefacts: records do not tell what they show."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from redhanded.errors import RedhandedError
from redhanded.experiments.cells import Detect, Honest
from redhanded.experiments.cells.adapt import AutoEncoded, TrainBlinder
from redhanded.experiments.cells.datasets import as_tensor
from redhanded.experiments.figures.blinder import blinded_images
from redhanded.experiments.figures.likelihood import judged, likelihood_curves
from redhanded.experiments.figures.picture import Picture
from redhanded.experiments.runner.context import Context
from redhanded.experiments.tables.comparison import HONEST
from redhanded.experiments.tables.detection import table_xiv, table_xv
from redhanded.experiments.worlds.adaptations import adapted
from redhanded.experiments.worlds.world import World
from redhanded.lab.types import Fidelity

FIRST = 1_000
"""Queries that Figure 10 shows."""
SHOWN = 8
"""Images that Figure 12 shows."""
BANDS = (
    "Bands are the credibility interval; an account is closed where its upper edge falls below the threshold."
)


def _jb_top3(
    world: World, name: str, section: str, title: str, caption: str, first: int | None = None
) -> Picture:
    """The thief of Table XIV's first row, seeded from the victim's own set, beside the honest stream."""
    (found,) = table_xiv(world).entries[0].cells
    assert isinstance(found, Detect)
    extraction = found.extraction
    streams: Mapping[str, Detect | Honest] = {HONEST: found.honest, extraction.name: found}
    cells = (found.calibration, *streams.values())

    def make(context: Context) -> Figure:
        detector, likelihood = judged(streams, context)
        return likelihood_curves(likelihood, detector, first, natural=extraction.n_seed)

    return Picture(name, section, title, f"{BANDS} {caption}", cells, make, cells, from_artefacts=True)


def figure_10(world: World) -> Picture:
    """How an account's likelihood begins."""
    title = f"Mean log-likelihood over the first {FIRST:,} queries"
    return _jb_top3(world, "10", "VI-B", title, "The thief sends its natural seeds first.", FIRST)


def figure_13(world: World) -> Picture:
    """How it goes on when a thief augments its seeds."""
    title = "Mean log-likelihood over all queries of JB-top3"
    caption = "The honest stream holds images that tuned nothing; the paper's is CIFAR-10's training set."
    return _jb_top3(world, "13", "VIII-B1", title, caption)


def figure_14(world: World) -> Picture:
    """Natural sets beside one another."""
    streams = {
        entry.row: cell
        for entry in table_xv(world).entries
        for cell in entry.cells
        if isinstance(cell, Honest)
    }
    own, held_out = next(iter(streams.items()))

    def make(context: Context) -> Figure:
        shown = {name: cell for name, cell in streams.items() if context.store.record(cell) is not None}
        detector, likelihood = judged(shown, context)
        return likelihood_curves(likelihood, detector, honest=own)

    return Picture(
        "14",
        "VIII-B3",
        "Mean log-likelihood over natural images",
        f"{BANDS} Of {own}, in grey, images that tuned nothing.",
        (held_out.calibration, *streams.values()),
        make,
        (held_out.calibration, held_out),
        from_artefacts=True,
    )


def figure_12(world: World) -> Picture:
    """What the learned blinder changes."""
    laws: tuple[Fidelity, ...] = ("corrected", "released")
    blinders: dict[str, TrainBlinder] = {}
    for law in laws:
        adaptation = adapted(world, "auto-encoder", law)
        assert isinstance(adaptation, AutoEncoded)
        blinders[law] = adaptation.blinder

    def make(context: Context) -> Figure | None:
        try:
            images = as_tensor(world.test.load().images[:SHOWN], context.device)
        except RedhandedError:  # artefacts can be carried to where there are no archives
            return None
        measured = {law: cell for law, cell in blinders.items() if context.store.record(cell) is not None}
        return blinded_images(images, {law: cell.load(context) for law, cell in measured.items()})

    return Picture(
        "12",
        "VII-A",
        "What the auto-encoder does to images",
        "Test images, what is sent in their stead, and the change. `corrected` is trained as the paper says, "
        "`released` as its code does.",
        tuple(blinders.values()),
        make,
        from_artefacts=True,
    )
