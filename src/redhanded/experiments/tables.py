"""The paper's tables as data: which cell fills which place, and what the paper prints there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from redhanded.experiments.attacks import ATTACKS as NAMES
from redhanded.experiments.cells import Detect
from redhanded.experiments.cells.defences import (
    Defence,
    Ensemble,
    LabelOnly,
    Misinformation,
    Poisoning,
    Rounding,
    Sigmoid,
    TrainDefender,
    Truncation,
    Undefended,
)
from redhanded.experiments.cells.utility import Utility
from redhanded.experiments.context import Cell
from redhanded.experiments.evasion import adapted
from redhanded.experiments.world import World
from redhanded.lab.adaptive import TRANSFORMS
from redhanded.lab.encoders.similarity import Loss

Metric = Literal["accuracy", "bans", "l1_mean"]


@dataclass(frozen=True)
class Entry:
    """One number of a table: the cells that measure it (one a seed), and the published figure."""

    row: str
    column: str
    cells: tuple[Cell, ...]
    metric: Metric
    published: float | None
    """None where the paper prints none."""


@dataclass(frozen=True)
class Table:
    """A table of the paper."""

    name: str
    title: str
    entries: tuple[Entry, ...]

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All cells, each once, first seeds first: one whole table before its spread."""
        deepest = max(len(entry.cells) for entry in self.entries)
        ordered = [
            entry.cells[place]
            for place in range(deepest)
            for entry in self.entries
            if place < len(entry.cells)
        ]
        return tuple(dict.fromkeys(ordered))


BASELINE, JB_TOP3, JBA_PGD = "Baseline", "JB-top3", "JBA-PGD"
ATTACKS = {JB_TOP3: "jb-top3", JBA_PGD: "jba-pgd"}


def _extraction(world: World, name: str, title: str, n_seed: int, published: Mapping[str, float]) -> Table:
    entries = []
    for row, figure in published.items():
        cells = tuple(
            world.random_sampling(n_seed, seed)
            if row == BASELINE
            else world.extract(ATTACKS[row], n_seed, seed)
            for seed in world.seeds
        )
        entries.append(Entry(row, "Ex. Acc.", cells, "accuracy", figure))
    return Table(name, title, tuple(entries))


def table_i(world: World) -> Table:
    """Extraction accuracy from few seeds (the paper's 500 of 50,000 queries)."""
    published = {BASELINE: 0.66, JB_TOP3: 0.67, JBA_PGD: 0.72}
    return _extraction(world, "i", "Extraction accuracy, few seeds", world.n_seed_small, published)


def table_ii(world: World) -> Table:
    """Extraction accuracy from many seeds (the paper's 5,000 of 50,000 queries)."""
    published = {BASELINE: 0.85, JB_TOP3: 0.87, JBA_PGD: 0.87}
    return _extraction(world, "ii", "Extraction accuracy, many seeds", world.n_seed_large, published)


def detection(world: World, attack: str, seed: int = 0, loss: Loss = "per-pair") -> Detect:
    """The attack from many seeds, replayed before a similarity detector."""
    return Detect(
        world.calibrate(loss), world.extract(attack, world.n_seed_large, seed), world.honest_user(loss)
    )


def table_vii(world: World) -> Table:
    """Accounts that the similarity detector makes each attack pay, with either loss of its encoder."""
    published = {JB_TOP3: (59.0, 0.87), JBA_PGD: (21.0, 0.87)}
    losses: tuple[Loss, ...] = ("per-pair", "released")
    entries = []
    for loss in losses:
        for row, (accounts, accuracy) in published.items():
            cells = tuple(detection(world, ATTACKS[row], seed, loss) for seed in world.seeds)
            entries.append(Entry(f"{row}, {loss} loss", "# Accounts", cells, "bans", accounts))
            if loss == losses[0]:  # the detector does not change what the thief learns
                entries.append(Entry(row, "Ex. Acc.", cells, "accuracy", accuracy))
    return Table("vii", "Similarity-based detector against JBAs", tuple(entries))


def table_attacks(world: World) -> Table:
    """Every attack, at its own budget, beside random sampling from seeds and from the pool.

    The price is what the similarity detector asks for the same queries.
    """
    entries = []
    for name in NAMES:
        cells = tuple(detection(world, name, seed) for seed in world.seeds)
        row = f"{name} ({cells[0].extraction.attack.budget:,})"
        entries.append(Entry(row, "Ex. Acc.", cells, "accuracy", None))
        entries.append(Entry(row, "# Accounts", cells, "bans", None))
    return Table("attacks", "Every attack (queries)", tuple(entries))


SPREAD = ("none", "filtering", "brightness", "rotate", "translate", "auto-encoder")
"""Adaptations that are measured with every seed; the others with the first."""


def _adaptive(world: World, attack: str, name: str, published: Mapping[str, tuple[float, float]]) -> Table:
    """Accounts and accuracy of every adaptation before the similarity detector, under both laws."""
    entries = []
    for row, (accounts, accuracy) in published.items():
        for law in ("corrected", "released"):
            if row not in {*TRANSFORMS, "auto-encoder"} and law == "released":
                continue  # only blinding has two readings
            adaptation = adapted(world, row, law)
            seeds = world.seeds if row in SPREAD else world.seeds[:1]
            plain = [detection(world, attack, seed) for seed in seeds]
            cells = tuple(
                replace(cell, extraction=replace(cell.extraction, adaptation=adaptation)) for cell in plain
            )
            title = row if row not in {*TRANSFORMS, "auto-encoder"} else f"{row}, {law}"
            entries.append(Entry(title, "# Accounts", cells, "bans", accounts))
            entries.append(Entry(title, "Ex. Acc.", cells, "accuracy", accuracy))
    return Table(name, f"Adaptive {attack} against the similarity detector", tuple(entries))


def table_x(world: World) -> Table:
    """Adaptive JB-top3 (the paper's rows; the filter that is trained on all of CINIC-10 lacks its data)."""
    published = {
        "none": (59.0, 0.87),
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
    return _adaptive(world, "jb-top3", "x", published)


def table_xi(world: World) -> Table:
    """Adaptive JBA-PGD."""
    published = {
        "none": (21.0, 0.87),
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
    return _adaptive(world, "jba-pgd", "xi", published)


def output_defences(world: World) -> tuple[Defence, ...]:
    """The output defences that the paper names (§V-B, §V-C), and none."""
    kinds: tuple[Literal["misinformation", "ensemble"], ...] = ("misinformation", "ensemble")
    misinformation, ensemble = (
        TrainDefender(
            world.train_victim(),
            world.judging.outside,
            world.surrogate,
            world.judging.defender_training,
            kind,
        )
        for kind in kinds
    )
    return (
        Undefended(),
        LabelOnly(),
        Rounding(),
        Truncation(),
        Sigmoid(),
        Poisoning(world.surrogate, world.classes),
        Poisoning(world.surrogate, world.classes, "argmax"),
        Misinformation(misinformation),
        Ensemble(ensemble),
    )


def table_defences(world: World) -> Table:
    """What each output defence costs honest users, and leaves a thief with probabilities or labels."""
    entries = []
    for defence in output_defences(world):
        price = (Utility(world.train_victim(), defence),)
        entries.append(Entry(defence.title, "Served acc.", price, "accuracy", None))
        entries.append(Entry(defence.title, "L1 change", price, "l1_mean", None))
        for soft, column in ((True, "Ex. Acc., soft"), (False, "Ex. Acc., hard")):
            stolen = tuple(
                replace(world.extract("jba-pgd", world.n_seed_large, seed), defence=defence, soft=soft)
                for seed in world.seeds
            )
            entries.append(Entry(defence.title, column, stolen, "accuracy", None))
    return Table("defences", "Output defences against JBA-PGD", tuple(entries))


TABLES: Mapping[str, Callable[[World], Table]] = {
    "i": table_i,
    "ii": table_ii,
    "vii": table_vii,
    "x": table_x,
    "xi": table_xi,
    "attacks": table_attacks,
    "defences": table_defences,
}
"""The paper's tables, one of every attack and one of output defences, by the names from outside."""
