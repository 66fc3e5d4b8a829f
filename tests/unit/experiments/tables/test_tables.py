"""The paper's tables as data, and how they are shown."""

import re
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest

from redhanded.experiments.cells.datasets import Archived
from redhanded.experiments.tables import OF_THE_PAPER, TABLES
from redhanded.experiments.tables.base import Entry, Table
from redhanded.experiments.tables.printing import as_data, as_markdown, for_terminal
from redhanded.experiments.worlds import WORLDS
from tiny import tiny

ROMAN = ["i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii", "xiii", "xiv", "xv"]


def test_every_table_of_the_paper_is_declared():
    assert sorted(OF_THE_PAPER) == sorted(ROMAN)


def records_of(entry: Entry, **fields):
    """Every cell has been measured, each seed a little better."""
    found = {
        cell: {name: value + place for name, value in fields.items()}
        for place, cell in enumerate(entry.cells)
    }
    return found.get


def test_an_entry_tells_its_spread_and_what_is_missing():
    entry = TABLES["vii"](tiny()).entries[0]
    assert entry.metric == "bans"
    look = records_of(entry, bans=3, benign_floor=0.5)
    assert entry.values(look) == [3, 4, 5]
    assert entry.floors(look) == [0.5, 1.5, 2.5]
    assert entry.spread(look) == "4 (3 to 5)"
    assert entry.spread(lambda cell: None) == "-"
    assert replace(entry, cells=()).spread(look) == "n/a"
    alone = replace(entry, cells=entry.cells[:1], metric="fpr")
    assert alone.spread({entry.cells[0]: {"fpr": 0.00012}}.get) == "0.012%"
    assert alone.floors(look) == []


def test_accuracy_on_the_way_is_that_of_the_last_round_that_had_ended():
    entry = TABLES["iii"](tiny()).entries[0]
    (cell,) = entry.cells
    look = {cell: {"round_queries": [10, 50, 200], "round_accuracy": [0.1, 0.3, 0.9]}}.get
    for after, accuracy in ((5, 0.1), (10, 0.1), (49, 0.1), (50, 0.3), (199, 0.3), (10_000, 0.9)):
        assert replace(entry, after=after).values(look) == [accuracy]


def test_sets_that_are_not_at_hand_are_never_replaced():
    for world in (WORLDS["small"](), WORLDS["paper"]()):
        for name in ("iv", "v", "viii", "ix", "xiv", "xv"):
            table = TABLES[name](world)
            for row in ("Indoor67", "CUBS200", "Caltech256"):
                places = [entry for entry in table.entries if entry.row == row]
                assert places
                assert not any(entry.available for entry in places)
                assert all("not at hand" in entry.note for entry in places)
    few = TABLES["v"](WORLDS["paper"]()).find("SVHN", "JB-top3")
    assert not few.available
    assert few.note == "1,083 of 5,000 images at hand"
    some = TABLES["vi"](WORLDS["paper"]()).find("CIFAR100", "RS")
    assert some.cells[0].attack.budget == 10_000
    assert some.note.startswith("10,000 of 50,000 queries")


def test_only_the_own_set_gives_balanced_seeds():
    table = TABLES["v"](WORLDS["small"]())
    balanced = {entry.row: {cell.balanced for cell in entry.cells} for entry in table.entries if entry.cells}
    assert balanced.pop("CIFAR10") == {True}
    assert all(found == {False} for found in balanced.values())


def test_tables_share_their_cells():
    """One theft serves Tables II, V, VII, VIII, X and XIV."""
    world = WORLDS["small"]()
    stolen = TABLES["ii"](world).find("JB-top3", "Ex. Acc.").cells[0]
    assert TABLES["v"](world).find("CIFAR10", "JB-top3").cells == (stolen,)
    for name, row, column in (
        ("vii", "JB-top3, per-pair loss", "# Accounts"),
        ("viii", "CIFAR10", "# Accounts, JB-top3"),
        ("x", "none", "# Accounts"),
        ("xiv", "CIFAR10", "# Accounts"),
    ):
        assert TABLES[name](world).find(row, column).cells[0].extraction == stolen
    assert TABLES["viii"](world).find("CIFAR10", "# Accounts, JB-top3").cells[0] in TABLES["vii"](world).cells


def nothing(_cell: object) -> None:
    return None


@pytest.fixture
def table() -> Table:
    return TABLES["viii"](WORLDS["small"]())


def test_markdown_shows_every_entry_and_why_some_are_empty(table):
    first = table.entries[0]
    look = records_of(first, bans=12, benign_floor=0.25, accuracy=0.5)
    lines = as_markdown(table, look, nothing).splitlines()
    one = "# Accounts, {0} | floor | paper | Ex. Acc., {0} | paper"
    assert lines[0] == f"|  | {one.format('JB-top3')} | {one.format('JBA-PGD')} | note |".replace(
        "JBA-PGD | floor | paper", "JBA-PGD | paper"
    )
    assert lines[2] == "| CIFAR10 | 12 | 0.25 | 59 | 50.0% | 87.0% | - | 21 | - | 87.0% |  |"
    assert len(lines) == 2 + 9
    assert sum(line.count("| n/a |") == 4 and "not at hand" in line for line in lines) == 3
    assert sum(line.count("| - |") for line in lines) == 36 - 12 - 2


def test_machines_get_the_figures(table):
    data = as_data(table, records_of(table.entries[0], bans=12, benign_floor=0.25, accuracy=0.5), nothing)
    assert data["table"] == "viii"
    assert data["entries"][0]["values"] == [12]
    assert data["entries"][0]["published"] == 59
    assert data["entries"][-1]["available"] is False


def test_terminals_get_no_empty_columns():
    table = TABLES["ii"](tiny())
    shown = for_terminal(table, "tiny", nothing, nothing)
    assert [column.header for column in shown.columns] == ["", "Ex. Acc.", "paper", "seeds"]
    assert shown.row_count == 5
    assert "Not a reproduction" in str(shown.caption)
    assert "Not a reproduction" not in str(for_terminal(table, "paper", nothing, nothing).caption)


def archives(value) -> set[str]:
    """Every archive that a value's definition names."""
    if isinstance(value, Archived):
        return {value.name}
    parts = value if isinstance(value, tuple) else ()
    if is_dataclass(value) and not isinstance(value, type):
        parts = tuple(getattr(value, field.name) for field in fields(value))
    return set().union(*map(archives, parts))


def test_a_slice_carries_the_images_of_every_table():
    """A machine without a network has what was packed, and nothing else."""
    script = (Path(__file__).parents[4] / "scripts/paper_slice.sh").read_text()
    packed = re.search(r"SLICE_SETS:-([^}]+)}", script)
    assert packed is not None
    world = WORLDS["paper"]()
    cells = [cell for make in OF_THE_PAPER.values() for cell in make(world).cells]
    named = set().union(*map(archives, cells))
    assert named == set(packed[1].split())
