"""Tables III and X to XIII: data-free thieves, and those who know the detector (§VII, §VIII-A3)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from redhanded.experiments.cells import Detect
from redhanded.experiments.tables.base import ACCOUNTS, ACCURACY, Entry, Table
from redhanded.experiments.worlds.adaptations import adapted
from redhanded.experiments.worlds.world import World
from redhanded.lab.adaptive import TRANSFORMS
from redhanded.lab.types import Fidelity

TOLD_APART = ("none", "filtering", "brightness", "rotate", "translate", "auto-encoder")
"""Adaptations that Table XI measures under both laws."""
BLINDING = (*TRANSFORMS, "auto-encoder")
"""Adaptations of which there are two readings."""
FULL_CINIC10 = "filtering, full CINIC-10"
ABSENT = "no full CINIC-10 at hand"
NOTE = (
    "`filtering` has a substitute detector that was trained on few labelled images of the thief's own; "
    "`corrected` is the paper's text, `released` its code."
)


def _note(world: World) -> str:
    return f"{world.n_seed_large:,} seeds and {world.adaptive_queries:,} queries. {NOTE}"


Figures = Mapping[str, tuple[float, float]]


def _entries(
    world: World,
    attack: str,
    figures: Figures,
    seeds: Mapping[str, Sequence[int]],
    laws: Mapping[str, Sequence[Fidelity]],
    query_set: str,
) -> list[Entry]:
    """Accounts and accuracy of every adaptation before the similarity detector."""
    found = world.query_sets[query_set]
    lacking = found.lacks(world.n_seed_large)
    entries = []
    for row, (accounts, accuracy) in figures.items():
        for law in laws.get(row, ("corrected",)):
            title = f"{row}, {law}" if row in BLINDING else row
            note = lacking or (ABSENT if row == FULL_CINIC10 else "")
            cells: tuple[Detect, ...] = ()
            if not note:
                adaptation = adapted(world, row, law)
                cells = tuple(
                    Detect(
                        world.calibrate(),
                        replace(
                            world.extract(
                                attack,
                                world.n_seed_large,
                                seed,
                                budget=world.adaptive_queries,
                                query_set=found.data,
                            ),
                            adaptation=adaptation,
                        ),
                        world.honest_user(),
                    )
                    for seed in seeds.get(row, world.seeds[:1])
                )
            entries.append(Entry(title, ACCOUNTS, cells, "bans", accounts, note=note))
            entries.append(Entry(title, ACCURACY, cells, "accuracy", accuracy, note=note))
    return entries


BOTH: Mapping[str, Sequence[Fidelity]] = dict.fromkeys(BLINDING, ("corrected", "released"))
SOME: Mapping[str, Sequence[Fidelity]] = {row: laws for row, laws in BOTH.items() if row in TOLD_APART}


def table_x(world: World) -> Table:
    """Adaptive JB-top3; every transform under both laws, every row over seeds."""
    figures = {
        "none": (59.0, 0.87),
        FULL_CINIC10: (55.0, 0.82),
        "filtering": (11.0, 0.86),
        "crop": (50.0, 0.85),
        "brightness": (221.0, 0.77),
        "scale": (28.0, 0.86),
        "rotate": (59.0, 0.86),
        "contrast": (266.0, 0.79),
        "uniform": (245.0, 0.79),
        "gaussian": (179.0, 0.77),
        "translate": (19.0, 0.85),
        "auto-encoder": (6.0, 0.81),
    }
    seeds = dict.fromkeys(figures, world.spread_seeds)
    own = next(iter(world.query_sets))
    entries = _entries(world, "jb-top3", figures, seeds, BOTH, own)
    return Table("x", f"Adaptive JB-top3 with seeds of {own}", tuple(entries), _note(world))


def table_xi(world: World) -> Table:
    """Adaptive JBA-PGD."""
    figures = {
        "none": (21.0, 0.87),
        FULL_CINIC10: (21.0, 0.87),
        "filtering": (8.0, 0.87),
        "crop": (26.0, 0.86),
        "brightness": (88.0, 0.83),
        "scale": (16.0, 0.86),
        "rotate": (18.0, 0.87),
        "contrast": (226.0, 0.82),
        "uniform": (91.0, 0.82),
        "gaussian": (84.0, 0.82),
        "translate": (13.0, 0.86),
        "auto-encoder": (2.0, 0.82),
    }
    own = next(iter(world.query_sets))
    entries = _entries(world, "jba-pgd", figures, {}, SOME, own)
    return Table("xi", f"Adaptive JBA-PGD with seeds of {own}", tuple(entries), _note(world))


def table_xii(world: World) -> Table:
    """Adaptive JB-top3 with seeds of the closest other set."""
    figures = {
        "none": (54.0, 0.84),
        FULL_CINIC10: (58.0, 0.83),
        "filtering": (8.0, 0.82),
        "crop": (58.0, 0.82),
        "brightness": (228.0, 0.70),
        "scale": (28.0, 0.82),
        "rotate": (58.0, 0.83),
        "contrast": (320.0, 0.70),
        "uniform": (244.0, 0.69),
        "gaussian": (186.0, 0.68),
        "translate": (26.0, 0.82),
        "auto-encoder": (4.0, 0.67),
    }
    entries = _entries(world, "jb-top3", figures, {}, {}, world.close_set)
    return Table("xii", f"Adaptive JB-top3 with seeds of {world.close_set}", tuple(entries), _note(world))


POINTS = {400: 0.10, 40: 0.14, 4: 0.71, 1: 0.88}
"""Table III's 50,000, 500,000, 5 million and 20 million queries as parts of the budget."""


def table_iii(world: World) -> Table:
    """How data-free extraction goes on: one theft, examined on its way."""
    budget, cell = world.scale.data_free.budget, world.data_free()
    entries = tuple(
        Entry(f"{budget // part:,} queries", ACCURACY, (cell,), "accuracy_after", figure, budget // part)
        for part, figure in POINTS.items()
    )
    note = "The published figures stand at the same shares of 20 million queries."
    return Table("iii", "Extraction accuracy of DFME as it goes on", entries, note)


def table_xiii(world: World) -> Table:
    """Adaptive DFME; as in the paper, what estimates gradients is sent as it is."""
    figures: Mapping[str, tuple[float | None, float | None]] = {
        "none": (56_981.0, 0.89),
        FULL_CINIC10: (126_674.0, 0.87),
        "filtering": (None, None),
        "uniform": (57_394.0, 0.87),
        "gaussian": (57_222.0, 0.88),
        "scale": (56_981.0, 0.88),
        "brightness": (56_994.0, 0.89),
        "rotate": (56_981.0, 0.89),
        "contrast": (112_231.0, 0.70),
        "crop": (56_981.0, 0.88),
        "translate": (56_981.0, 0.85),
    }
    budget = world.adaptive_data_free
    entries = []
    for row, (accounts, accuracy) in figures.items():
        note = ABSENT if row == FULL_CINIC10 else ""
        cells = () if note else (world.data_free_watched(budget, adapted(world, row, "corrected")),)
        entries.append(Entry(row, ACCOUNTS, cells, "bans", accounts, note=note))
        entries.append(Entry(row, ACCURACY, cells, "accuracy", accuracy, note=note))
    note = f"{budget:,} queries; published: 20 million. {NOTE}"
    return Table("xiii", "Adaptive DFME", tuple(entries), note)
