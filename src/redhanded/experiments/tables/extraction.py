"""Tables I, II and IV to VI: how well models are stolen (§IV)."""

from collections.abc import Mapping, Sequence

from redhanded.experiments.tables.base import ACCURACY, Entry, Table
from redhanded.experiments.worlds.world import World

BASELINE, JB_TOP3, JBA_PGD, JBA_CW, JBA_BS = "Baseline", "JB-top3", "JBA-PGD", "JBA-CW_l2", "JBA-BinarySearch"
ATTACKS = {JB_TOP3: "jb-top3", JBA_PGD: "jba-pgd", JBA_CW: "jba-cw", JBA_BS: "jba-bs"}
"""The rows that the paper prints, and the attacks' names here."""
SPREAD = (BASELINE, JB_TOP3, JBA_PGD)
"""Rows measured with several seeds; the others, whose crafting takes minutes, with the first."""


def _by_attack(
    world: World, name: str, title: str, n_seed: int, figures: Mapping[str, float], seeds: Sequence[int]
) -> Table:
    entries = []
    for row, figure in figures.items():
        cells = tuple(
            world.random_sampling(n_seed, seed)
            if row == BASELINE
            else world.extract(ATTACKS[row], n_seed, seed)
            for seed in (seeds if row in SPREAD else seeds[:1])
        )
        entries.append(Entry(row, ACCURACY, cells, "accuracy", figure))
    note = f"{n_seed:,} seeds and {world.budget:,} queries; the baseline sends the seeds alone."
    return Table(name, title, tuple(entries), note)


def table_i(world: World) -> Table:
    """Extraction accuracy from few seeds (the paper's 500 of 50,000 queries)."""
    figures = {BASELINE: 0.66, JB_TOP3: 0.67, JBA_PGD: 0.72, JBA_CW: 0.61, JBA_BS: 0.63}
    title = "Extraction accuracy, few seeds"
    return _by_attack(world, "i", title, world.n_seed_small, figures, world.spread_seeds)


def table_ii(world: World) -> Table:
    """Extraction accuracy from many seeds (the paper's 5,000 of 50,000 queries)."""
    figures = {BASELINE: 0.85, JB_TOP3: 0.87, JBA_PGD: 0.87, JBA_CW: 0.85, JBA_BS: 0.85}
    return _by_attack(
        world, "ii", "Extraction accuracy, many seeds", world.n_seed_large, figures, world.seeds
    )


def _by_query_set(
    world: World, name: str, title: str, n_seed: int, figures: Mapping[str, tuple[float, float, float]]
) -> Table:
    entries = []
    for row, query_set in world.query_sets.items():
        lacking = query_set.lacks(n_seed)
        printed = dict(zip(SPREAD, figures.get(row, ()), strict=False))
        for column in SPREAD:
            cells = (
                ()
                if lacking
                else (world.random_sampling(n_seed, world.seeds[0], query_set.data),)
                if column == BASELINE
                else (world.extract(ATTACKS[column], n_seed, world.seeds[0], query_set=query_set.data),)
            )
            title_of = "RS" if column == BASELINE else column
            entries.append(Entry(row, title_of, cells, "accuracy", printed.get(column), note=lacking))
    note = f"{n_seed:,} seeds; RS sends them alone, the others {world.budget:,} queries."
    return Table(name, title, tuple(entries), note)


def table_iv(world: World) -> Table:
    """Seeds of other sets, few of them."""
    figures = {
        "CIFAR10": (0.66, 0.67, 0.72),
        "TinyImageNet": (0.46, 0.57, 0.61),
        "ImageNet1k": (0.44, 0.57, 0.62),
        "CIFAR100": (0.43, 0.55, 0.58),
        "SVHN": (0.19, 0.24, 0.32),
        "CINIC10": (0.58, 0.64, 0.69),
        "Indoor67": (0.33, 0.44, 0.51),
        "CUBS200": (0.20, 0.23, 0.31),
        "Caltech256": (0.44, 0.49, 0.58),
    }
    return _by_query_set(
        world, "iv", "Random sampling against JBAs by query set, few seeds", world.n_seed_small, figures
    )


def table_v(world: World) -> Table:
    """Seeds of other sets, many of them."""
    figures = {
        "CIFAR10": (0.85, 0.87, 0.87),
        "TinyImageNet": (0.69, 0.78, 0.78),
        "ImageNet1k": (0.67, 0.78, 0.78),
        "CIFAR100": (0.68, 0.78, 0.78),
        "SVHN": (0.24, 0.40, 0.43),
        "CINIC10": (0.78, 0.84, 0.84),
        "Indoor67": (0.50, 0.70, 0.71),
        "CUBS200": (0.31, 0.46, 0.54),
        "Caltech256": (0.63, 0.77, 0.77),
    }
    return _by_query_set(
        world, "v", "Random sampling against JBAs by query set, many seeds", world.n_seed_large, figures
    )


def table_vi(world: World) -> Table:
    """Random sampling with the whole budget, from every set but the victim's own."""
    figures = {
        "TinyImageNet": 0.84,
        "ImageNet1k": 0.85,
        "CIFAR100": 0.84,
        "SVHN": 0.36,
        "CINIC10": 0.89,
        "Indoor67": 0.63,
        "CUBS200": 0.36,
        "Caltech256": 0.78,
    }
    entries = []
    for row, query_set in list(world.query_sets.items())[1:]:
        sent = min(world.budget, query_set.images)
        cells = (world.random_sampling(sent, world.seeds[0], query_set.data),) if sent else ()
        note = f"{sent:,} of {world.budget:,} queries: all there is" if 0 < sent < world.budget else ""
        entries.append(Entry(row, "RS", cells, "accuracy", figures.get(row), note=note or query_set.lacks(1)))
    return Table("vi", "Random sampling with the whole budget", tuple(entries), f"{world.budget:,} queries.")
