"""What a figure of the paper is: the cells that it shows, and how it is drawn from them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from redhanded.experiments.figures.style import save_png, save_svg
from redhanded.experiments.runner.context import Cell, Context

NOT_MEASURED = "not measured"
NO_ARTEFACTS = "measured, but the artefacts that it is drawn from are not at hand"


@dataclass(frozen=True)
class Picture:
    name: str
    section: str
    title: str
    caption: str
    cells: tuple[Cell, ...]
    """What it shows, as far as it has been measured."""
    make: Callable[[Context], Figure | None]
    essential: tuple[Cell, ...] = ()
    """Without these nothing is drawn; of the others one is enough."""
    from_artefacts: bool = False
    """Whether records alone do not tell what it shows."""

    def lacks(self, context: Context) -> str:
        """Return why it cannot be drawn; nothing if it can."""
        measured = [cell for cell in self.cells if context.store.record(cell) is not None]
        if not measured or not set(self.essential) <= set(measured):
            return NOT_MEASURED
        if self.from_artefacts and any(context.store.artefact(cell) is None for cell in measured):
            return NO_ARTEFACTS
        return ""

    def draw(self, context: Context) -> Figure | None:
        """Draw it from what is at hand, running nothing; None if that is not enough."""
        return None if self.lacks(context) else self.make(context)


def save(figure: Figure, stem: Path) -> Path:
    """Write STEM.png and STEM.svg; return the former."""
    path = stem.with_name(f"{stem.name}.png")
    save_png(figure, path)
    save_svg(figure, stem.with_name(f"{stem.name}.svg"))
    return path
