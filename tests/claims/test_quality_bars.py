"""What the demo world's committed records say of every attack: a broken one does not get past these bars."""

import json
from pathlib import Path
from statistics import mean

import pytest

from redhanded.experiments.worlds.attacks import ATTACKS
from redhanded.experiments.worlds.demo import demo

RESULTS = Path(__file__).parents[2] / "results" / "demo-attacks"
WORLD = demo()
CHANCE = 1 / WORLD.classes


def records(name: str) -> list[dict]:
    """The committed extraction of an attack, one a seed, by the keys that today's code gives them."""
    found = []
    for seed in WORLD.seeds:
        cell = WORLD.extract(name, WORLD.n_seed_large, seed)
        (path,) = RESULTS.glob(f"{cell.label}-{cell.key[:16]}.json")
        found.append(json.loads(path.read_text()))
    return found


def accuracy(name: str) -> float:
    """Mean extraction accuracy over the seeds."""
    return mean(record["accuracy"] for record in records(name))


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_has_a_record_a_seed_from_clean_source(name: str) -> None:
    for record in records(name):
        assert record["attack"] == name
        assert not record["revision"].endswith("+")
        assert record["queries"] <= record["budget"]


@pytest.mark.parametrize("name", ["jb-top3", "jba-pgd"])
def test_augmentation_is_worth_its_seeds(name: str) -> None:
    assert accuracy(name) >= accuracy("random") - 0.02


def test_pgd_beats_random_sampling_of_its_seeds() -> None:
    assert accuracy("jba-pgd") > accuracy("random")


def test_carlini_and_wagner_reach_their_targets() -> None:
    for record in records("jba-cw"):
        crafted = record["queries"] - record["n_seed"]
        assert record["failures"] <= 0.05 * (crafted + record["failures"])
        assert min(record["traits_reached_surrogate"]) == 1.0  # of what was sent


@pytest.mark.parametrize("name", ["knockoff", "uncertainty", "k-center", "dfal", "dfal-k-center"])
def test_choosing_is_no_worse_than_drawing(name: str) -> None:
    assert accuracy(name) >= accuracy("pool-random") - 0.01


@pytest.mark.parametrize("name", ["dfme", "tramer", "tramer-local"])
def test_without_images_twice_chance_is_reached(name: str) -> None:
    for record in records(name):
        assert record["accuracy"] >= 2 * CHANCE
