"""What the learned blinder does to images: Figure 12 of the paper (§VII-A)."""

from collections.abc import Mapping

import torch
from matplotlib.figure import Figure

from redhanded.experiments.figures.style import DPI, WIDTH, gain, styled
from redhanded.lab.adaptive.autoencoder import AutoEncoder
from redhanded.lab.types import Images

SEED = 0
"""Of the noise that is hidden, the same for every blinder."""


def blinded_images(images: Images, blinders: Mapping[str, AutoEncoder]) -> Figure:
    """Images [n, 3, h, w] in a row, below it what each blinder sends for them and the amplified change."""
    rows = [("original", images)]
    for name, blinder in blinders.items():
        sent = blinder(images, torch.Generator().manual_seed(SEED)).clamp(0, 1)
        change = sent - images
        times = gain(float(change.abs().quantile(0.99)), 0.5)  # nearly all of it stays within what is shown
        rows += [
            (f"{name}\nsent", sent),
            (f"change \N{MULTIPLICATION SIGN}{times},\ngrey is none", (0.5 + times * change).clamp(0, 1)),
        ]
    return _sheet(rows)


def _sheet(rows: list[tuple[str, Images]]) -> Figure:
    with styled():
        figure = Figure(figsize=(WIDTH, 0.1 + 0.73 * len(rows)), dpi=DPI)
        grid = figure.subplots(
            len(rows), len(rows[0][1]), squeeze=False, gridspec_kw={"wspace": 0.05, "hspace": 0.05}
        )
        figure.subplots_adjust(left=0.16, right=0.995, top=0.99, bottom=0.01)
        for line, (name, images) in zip(grid, rows, strict=True):
            for axes, image in zip(line, images.cpu(), strict=True):
                axes.imshow(image.permute(1, 2, 0).numpy(), interpolation="none")
                axes.set_axis_off()
            line[0].text(-0.12, 0.5, name, ha="right", va="center", transform=line[0].transAxes)
        return figure
