"""Tables III and X to XIII: data-free thieves, and those who know the detector (§VII, §VIII-A3)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

from redhanded.experiments.cells import Detect
from redhanded.experiments.tables.base import ACCURACY, Entry, Table, priced
from redhanded.experiments.tables.extraction import ATTACKS, JB_TOP3, JBA_PGD
from redhanded.experiments.worlds.adaptations import adapted
from redhanded.experiments.worlds.world import World
from redhanded.lab.adaptive.blinding import TRANSFORMS
from redhanded.lab.types import Fidelity

BLINDING = (*TRANSFORMS, "auto-encoder")
"""Adaptations of which there are two readings."""
FULL_CINIC10 = "filtering, full CINIC-10"
ABSENT = "no full CINIC-10 at hand"
NOTE = (
    "`filtering` has a substitute detector that was trained on few labelled images of the thief's own; "
    "`corrected` is the paper's text, `released` its code."
)
ROWS = (
    *("none", FULL_CINIC10, "filtering", "crop", "brightness", "scale"),
    *("rotate", "contrast", "uniform", "gaussian", "translate", "auto-encoder"),
)
"""The rows of Tables X to XII; each figure that the paper prints there stands at its row's place."""


def _replayed(
    world: World,
    name: str,
    attack: str,
    query_set: str,
    accounts: Sequence[float],
    accuracies: Sequence[float],
    *,
    seeds: Sequence[int],
    both: Collection[str] = (),
) -> Table:
    """Accounts and accuracy of every adaptation before the similarity detector; `both` have both readings."""
    found, n_seed, budget = world.query_sets[query_set], world.n_seed_large, world.adaptive_queries
    lacking = found.lacks(n_seed)
    theft = partial(world.extract, ATTACKS[attack], n_seed, budget=budget, query_set=found.data)
    entries: list[Entry] = []
    for row, account, accuracy in zip(ROWS, accounts, accuracies, strict=True):
        laws: tuple[Fidelity, ...] = ("corrected", "released") if row in both else ("corrected",)
        note = lacking or (ABSENT if row == FULL_CINIC10 else "")
        for law in laws:
            cells: tuple[Detect, ...] = ()
            if not note:
                adaptation, honest = adapted(world, row, law), world.honest_user()
                cells = tuple(
                    Detect(honest.calibration, replace(theft(seed=seed), adaptation=adaptation), honest)
                    for seed in seeds
                )
            entries += priced(f"{row}, {law}" if row in BLINDING else row, cells, (account, accuracy), note)
    note = f"{n_seed:,} seeds and {budget:,} queries. {NOTE}"
    return Table(name, f"Adaptive {attack} with seeds of {query_set}", tuple(entries), note)


def table_x(world: World) -> Table:
    """Adaptive JB-top3; every transform under both laws, every row over seeds."""
    accounts = (59.0, 55.0, 11.0, 50.0, 221.0, 28.0, 59.0, 266.0, 245.0, 179.0, 19.0, 6.0)
    accuracies = (0.87, 0.82, 0.86, 0.85, 0.77, 0.86, 0.86, 0.79, 0.79, 0.77, 0.85, 0.81)
    own = next(iter(world.query_sets))
    return _replayed(world, "x", JB_TOP3, own, accounts, accuracies, seeds=world.spread_seeds, both=BLINDING)


def table_xi(world: World) -> Table:
    """Adaptive JBA-PGD; four blinding adaptations under both laws."""
    accounts = (21.0, 21.0, 8.0, 26.0, 88.0, 16.0, 18.0, 226.0, 91.0, 84.0, 13.0, 2.0)
    accuracies = (0.87, 0.87, 0.87, 0.86, 0.83, 0.86, 0.87, 0.82, 0.82, 0.82, 0.86, 0.82)
    own, both = next(iter(world.query_sets)), {"brightness", "rotate", "translate", "auto-encoder"}
    return _replayed(world, "xi", JBA_PGD, own, accounts, accuracies, seeds=world.seeds[:1], both=both)


def table_xii(world: World) -> Table:
    """Adaptive JB-top3 with seeds of the closest other set."""
    accounts = (54.0, 58.0, 8.0, 58.0, 228.0, 28.0, 58.0, 320.0, 244.0, 186.0, 26.0, 4.0)
    accuracies = (0.84, 0.83, 0.82, 0.82, 0.70, 0.82, 0.83, 0.70, 0.69, 0.68, 0.82, 0.67)
    return _replayed(world, "xii", JB_TOP3, world.close_set, accounts, accuracies, seeds=world.seeds[:1])


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
    published: Mapping[str, tuple[float | None, float | None]] = {
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
    entries: list[Entry] = []
    for row, figures in published.items():
        note = ABSENT if row == FULL_CINIC10 else ""
        cells = () if note else (world.data_free_watched(budget, adapted(world, row, "corrected")),)
        entries += priced(row, cells, figures, note)
    note = f"{budget:,} queries; published: 20 million. {NOTE}"
    return Table("xiii", "Adaptive DFME", tuple(entries), note)
