"""Tables I, II and IV to VI: how well models are stolen (§IV)."""

from collections.abc import Mapping, Sequence
from functools import partial

from redhanded.experiments.cells import Extract
from redhanded.experiments.cells.datasets import Data
from redhanded.experiments.tables.base import ACCURACY, Entry, Table
from redhanded.experiments.tables.query_sets import Column, by_query_set, printed
from redhanded.experiments.worlds.world import World

BASELINE, JB_TOP3, JBA_PGD, JBA_CW, JBA_BS = "Baseline", "JB-top3", "JBA-PGD", "JBA-CW_l2", "JBA-BinarySearch"
ATTACKS = {JB_TOP3: "jb-top3", JBA_PGD: "jba-pgd", JBA_CW: "jba-cw", JBA_BS: "jba-bs"}
"""The rows that the paper prints, and the attacks' names here."""
SPREAD = (BASELINE, JB_TOP3, JBA_PGD)
"""Rows measured with several seeds; the others, whose crafting takes minutes, with the first."""


def stolen(world: World, row: str, n_seed: int, seed: int, query_set: Data | None = None) -> Extract:
    """The theft of a row of the paper's; the baseline sends its seeds alone."""
    if row == BASELINE:
        return world.random_sampling(n_seed, seed, query_set)
    return world.extract(ATTACKS[row], n_seed, seed, query_set=query_set)


def _by_attack(
    world: World, name: str, size: str, n_seed: int, figures: Mapping[str, float], seeds: Sequence[int]
) -> Table:
    entries = []
    for row, figure in figures.items():
        cells = tuple(stolen(world, row, n_seed, seed) for seed in (seeds if row in SPREAD else seeds[:1]))
        entries.append(Entry(row, ACCURACY, cells, "accuracy", figure))
    note = f"{n_seed:,} seeds and {world.budget:,} queries; the baseline sends the seeds alone."
    return Table(name, f"Extraction accuracy, {size} seeds", tuple(entries), note)


def table_i(world: World) -> Table:
    """Extraction accuracy from few seeds (the paper's 500 of 50,000 queries)."""
    figures = {BASELINE: 0.66, JB_TOP3: 0.67, JBA_PGD: 0.72, JBA_CW: 0.61, JBA_BS: 0.63}
    return _by_attack(world, "i", "few", world.n_seed_small, figures, world.spread_seeds)


def table_ii(world: World) -> Table:
    """Extraction accuracy from many seeds (the paper's 5,000 of 50,000 queries)."""
    figures = {BASELINE: 0.85, JB_TOP3: 0.87, JBA_PGD: 0.87, JBA_CW: 0.85, JBA_BS: 0.85}
    return _by_attack(world, "ii", "many", world.n_seed_large, figures, world.seeds)


def _by_query_set(
    world: World, name: str, size: str, n_seed: int, figures: Mapping[str, Sequence[float]]
) -> Table:
    heads, seed = {BASELINE: "RS"}, world.seeds[0]
    columns = [
        Column(heads.get(row, row), "accuracy", published, partial(stolen, world, row, n_seed, seed))
        for row, published in figures.items()
    ]
    title = f"Random sampling against JBAs by query set, {size} seeds"
    note = f"{n_seed:,} seeds; RS sends them alone, the others {world.budget:,} queries."
    return Table(name, title, by_query_set(world, n_seed, columns), note)


def table_iv(world: World) -> Table:
    """Seeds of other sets, few of them."""
    figures = {
        BASELINE: (0.66, 0.46, 0.44, 0.43, 0.19, 0.58, 0.33, 0.20, 0.44),
        JB_TOP3: (0.67, 0.57, 0.57, 0.55, 0.24, 0.64, 0.44, 0.23, 0.49),
        JBA_PGD: (0.72, 0.61, 0.62, 0.58, 0.32, 0.69, 0.51, 0.31, 0.58),
    }
    return _by_query_set(world, "iv", "few", world.n_seed_small, figures)


def table_v(world: World) -> Table:
    """Seeds of other sets, many of them."""
    figures = {
        BASELINE: (0.85, 0.69, 0.67, 0.68, 0.24, 0.78, 0.50, 0.31, 0.63),
        JB_TOP3: (0.87, 0.78, 0.78, 0.78, 0.40, 0.84, 0.70, 0.46, 0.77),
        JBA_PGD: (0.87, 0.78, 0.78, 0.78, 0.43, 0.84, 0.71, 0.54, 0.77),
    }
    return _by_query_set(world, "v", "many", world.n_seed_large, figures)


def table_vi(world: World) -> Table:
    """Random sampling with the whole budget, from every set but the victim's own."""
    figures = printed((None, 0.84, 0.85, 0.84, 0.36, 0.89, 0.63, 0.36, 0.78))
    entries = []
    for row, query_set in list(world.query_sets.items())[1:]:
        sent = min(world.budget, query_set.images)
        cells = (world.random_sampling(sent, world.seeds[0], query_set.data),) if sent else ()
        note = f"{sent:,} of {world.budget:,} queries: all there is" if 0 < sent < world.budget else ""
        entries.append(Entry(row, "RS", cells, "accuracy", figures.get(row), note=note or query_set.lacks(1)))
    return Table("vi", "Random sampling with the whole budget", tuple(entries), f"{world.budget:,} queries.")
