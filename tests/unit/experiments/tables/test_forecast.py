"""What is left of a run, and how long it takes, from records of like cells."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from redhanded.experiments.runner.context import Context
from redhanded.experiments.runner.run import plan
from redhanded.experiments.runner.store import Store
from redhanded.experiments.tables import TABLES
from redhanded.experiments.tables.base import ACCURACY, Entry, Table
from redhanded.experiments.tables.forecast import Forecast, forecast
from tiny import tiny

WORLD = tiny()


def table(name, *cells):
    """A table with an entry a cell."""
    return Table(name, name, tuple(Entry(cell.label, ACCURACY, (cell,), "accuracy", None) for cell in cells))


@pytest.fixture
def context(tmp_path):
    return Context(Store(tmp_path / "records", tmp_path / "artefacts"))


def took(context, cell, seconds, device="cpu (x86_64, 1 threads)"):
    """Record a cell as measured, in so many seconds."""
    context.store.save_record(cell, cell.described() | {"seconds": seconds, "device": device})


def thief(seed=0, attack="jb-top3", budget=90):
    return WORLD.extract(attack, WORLD.n_seed_small, seed, budget=budget)


def test_cells_are_counted_once_with_what_they_need(context):
    """The victim is the first table's; what the second shares with it is not the second's."""
    first, second = forecast([table("a", thief(0)), table("b", thief(0), thief(1))], context)
    assert (first.left, second.left) == (2, 1)
    assert (first.timed, first.seconds) == (0, 0)


def test_time_is_the_median_of_the_closest_like_on_such_a_device(context):
    """Seeds are alike; attacks are not, nor are devices."""
    context.store.scratch(WORLD.train_victim()).replace(
        context.store.artefacts / WORLD.train_victim().key[:32]
    )
    took(context, WORLD.train_victim(), 30.0)
    for seed, seconds in enumerate((10.0, 50.0, 20.0)):
        took(context, thief(seed), seconds)
    took(context, thief(4), 1.0, device="cuda (some GPU, 8 threads)")
    took(context, thief(0, "jba-pgd"), 500.0)
    (found,) = forecast([table("a", thief(5), thief(6), thief(1))], context)
    assert (found.left, found.timed, found.exact, found.seconds) == (2, 2, 2, 40.0)
    (elsewhere,) = forecast([table("a", thief(5))], Context(context.store, torch.device("meta")))
    assert (elsewhere.left, elsewhere.timed) == (1, 0)


def test_another_budget_is_scaled_by_queries_from_the_nearest(context):
    """And said not to be its own."""
    took(context, WORLD.train_victim(), 30.0)
    took(context, thief(budget=40), 1000.0)
    took(context, thief(budget=200), 20.0)
    (found,) = forecast([table("a", thief(budget=400))], context)
    # its victim has a record without artefacts: it would be trained again
    assert (found.left, found.timed, found.exact, found.seconds) == (2, 2, 1, 70.0)


def test_nothing_is_left_where_all_is_measured(context):
    """And nothing was written to find out."""
    cell = thief()
    took(context, cell, 10.0)
    before = sorted(context.store.records.parent.rglob("*"))
    (found,) = forecast([table("a", cell)], context)
    assert found == Forecast("a", left=0, timed=0, seconds=0.0, exact=0)
    assert sorted(context.store.records.parent.rglob("*")) == before


@pytest.mark.parametrize("name", ["i", "vii", "x", "xiii", "xv", "defences"])
def test_a_cell_of_every_kind_is_its_own_like(context, name):
    """With a record of each cell but for its artefacts, each is forecast by records like it in everything."""
    cells = plan(TABLES[name](WORLD).cells, context)
    for place, cell in enumerate(cells):
        took(context, cell, 1.0 + place)
    left = [replace(cell, seed=17) for cell in cells if "seed" in {field.name for field in fields(cell)}]
    found = [part for cell in left for part in forecast([table("a", cell)], context)]
    assert found
    assert all(part.left == part.timed == part.exact > 0 for part in found)
    (nothing,) = forecast([TABLES[name](WORLD)], Context(Store(context.store.records / "none", Path("none"))))
    assert (nothing.left, nothing.timed) == (len(cells), 0)
