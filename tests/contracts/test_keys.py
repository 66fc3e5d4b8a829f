"""Every label and key of the three worlds: records are found by them, so none may change unnoticed."""

from functools import cache
from itertools import chain
from pathlib import Path

import pytest

from redhanded.experiments.cells import Extract, Watched
from redhanded.experiments.pages.demo import Demo, everything
from redhanded.experiments.runner.context import Cell
from redhanded.experiments.tables import TABLES
from redhanded.experiments.tables.comparison import Comparison
from redhanded.experiments.tables.evasion import thefts
from redhanded.experiments.worlds import WORLDS
from redhanded.experiments.worlds.adaptations import ADAPTATIONS
from redhanded.experiments.worlds.attacks import ATTACKS
from redhanded.experiments.worlds.world import LOGGED

KEYS = Path(__file__).parent / "keys"


@cache
def cells_of(name: str) -> list[Cell]:
    """All that the tables, the demonstration, the comparison and evasion measure, and all that they need."""
    world = WORLDS[name]()
    return everything(
        chain(
            *(table(world).cells for table in TABLES.values()),
            Demo.of(world, ("per-pair", "released")).cells,
            (
                place.cell
                for place in Comparison(world, streams=(*Comparison(world).streams, *ATTACKS)).places
            ),
            (place.cell for place in Comparison(world).places),
            thefts(world, "jb-top3", tuple(ADAPTATIONS), 10 * world.n_seed_small).values(),
        )
    )


def lines_of(name: str) -> list[str]:
    return sorted({f"{cell.label} {cell.key[:32]}" for cell in cells_of(name)})


@pytest.mark.parametrize("name", WORLDS)
def test_no_label_or_key_changes_unnoticed(name: str) -> None:
    """Rewritten by `python tests/contracts/test_keys.py`; a changed line is a record to measure anew."""
    pinned = (KEYS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    assert lines_of(name) == pinned


@pytest.mark.parametrize("name", WORLDS)
def test_no_planned_log_fills_a_disk(name: str) -> None:
    """20 million queries of 12,288 bytes are 246 GB: such a theft is judged as it goes."""
    cells = cells_of(name)
    logged = [cell for cell in cells if isinstance(cell, Extract)]
    assert logged
    assert [cell.label for cell in logged if cell.attack.budget > LOGGED] == []
    assert {cell.extraction.name for cell in cells if isinstance(cell, Watched)} == {"dfme"}


@pytest.mark.parametrize("name", ["demo", "small"])
def test_every_committed_record_is_one_of_them(name: str) -> None:
    known = {
        tuple(line.split(" ")) for line in (KEYS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    }
    files = {f"{label}-{key[:16]}.json" for label, key in known}
    stray = {path.name for path in (KEYS.parents[2] / "results" / name).glob("*.json")} - files
    assert not stray


if __name__ == "__main__":
    for world in WORLDS:
        (KEYS / f"{world}.txt").write_text("\n".join(lines_of(world)) + "\n", encoding="utf-8")
