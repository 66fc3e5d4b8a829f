"""Draw what query blinding does to two images of the demo world: docs/images/blinding.png.

Every transform, as the paper describes it and as its released code applies it, beside what it changed.
"""

from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from redhanded.experiments.cells.datasets import Composed, as_tensor
from redhanded.experiments.figures import style
from redhanded.lab.adaptive.blinding import TRANSFORMS, Law, TransformKind, transform
from redhanded.lab.types import Images

TARGET = Path(__file__).parents[1] / "docs" / "images" / "blinding.png"
SHOWN = (1, 4)
"""Which of the six images: one dark, one bright."""
LAWS: tuple[Law, ...] = ("corrected", "released")
AMPLIFIED = 4
SEED = 2
"""Both laws start from it, so that one draw shows in both columns."""


def cells(images: Images, kind: TransformKind | None) -> list[Tensor]:
    """Return a row: each image, then for either law what is sent and how it differs; grey is no change."""
    sent = {
        law: transform(kind, law)(images, torch.Generator().manual_seed(SEED)).clamp(0, 1) if kind else images
        for law in LAWS
    }
    row = []
    for place, image in enumerate(images):
        row.append(image)
        for law in LAWS:
            change = 0.5 + AMPLIFIED * (sent[law][place] - image)
            row += [sent[law][place], change.clamp(0, 1)]
    return row


def sheet(images: Images) -> Figure:
    """Return the figure; a row without a transform comes first."""
    rows = {kind or "none": cells(images, kind) for kind in (None, *TRANSFORMS)}
    columns = ("sent", f"change \N{MULTIPLICATION SIGN}{AMPLIFIED}")
    heads = ["original", *(f"{law}\n{column}" for law in LAWS for column in columns)]
    figure = Figure(figsize=(style.WIDTH, 5.9), dpi=style.DPI)
    halves = figure.add_gridspec(1, len(images), left=0.115, right=0.995, top=0.94, bottom=0.01, wspace=0.04)
    for place in range(len(images)):
        grid = halves[0, place].subgridspec(len(rows), len(heads), wspace=0.04, hspace=0.04)
        cell_axes = grid.subplots(squeeze=False)
        for line, (name, row) in zip(cell_axes, rows.items(), strict=True):
            for axes, cell in zip(line, row[place * len(heads) :], strict=False):
                axes.imshow(cell.permute(1, 2, 0).numpy(), interpolation="none")
                axes.set_axis_off()
            if place == 0:
                line[0].text(
                    -0.15, 0.5, name, ha="right", va="center", transform=line[0].transAxes, fontsize=9
                )
        for axes, head in zip(cell_axes[0], heads, strict=True):
            axes.set_title(head, fontsize=6.5, pad=4)
    return figure


def main() -> None:
    """Write the picture."""
    images = as_tensor(Composed("digits", "test", 6).load().images)[list(SHOWN)]
    with style.styled():
        style.save_png(sheet(images), TARGET)


if __name__ == "__main__":
    main()
