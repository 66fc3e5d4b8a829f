"""Worlds hand every attack what it starts from, and a budget that fits."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from redhanded.errors import RedhandedError
from redhanded.experiments.cells import ImagenetWeights, PublicWeights, Tune
from redhanded.experiments.cells.datasets import Composed, Mixed
from redhanded.experiments.cells.extract import starting_images
from redhanded.experiments.worlds import WORLDS
from redhanded.experiments.worlds.attacks import ATTACKS
from redhanded.experiments.worlds.detectors import DETECTORS
from redhanded.experiments.worlds.world import balanced_seeds
from redhanded.lab.models import ResNet8x

every_world = pytest.mark.parametrize("world", WORLDS)
CPU = torch.device("cpu")


@every_world
@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_is_offered_with_a_budget_that_fits(world, name):
    """Seeds fit the budget; keys differ by seed; the name is in the label."""
    made = WORLDS[world]()
    cell = made.extract(name, made.n_seed_large)
    assert cell.attack.budget == made.default_budget(name) > 0
    assert cell.key != made.extract(name, made.n_seed_large, 1).key
    if cell.attack.starts_from == "seeds":
        assert 0 < cell.n_seed <= cell.attack.budget
    assert name in cell.label
    assert made.extract(name, made.n_seed_large, budget=77).attack.budget == 77


def test_fidelity_reaches_the_attack():
    """Where the released code differs, another cell is made."""
    made = WORLDS["demo"]()
    for name in ("jb-top3", "jbda", "jba-cw", "jba-bs", "feature-fool", "dfme"):
        one, other = (made.extract(name, 400, fidelity=kind) for kind in ("corrected", "released"))
        assert one.attack != other.attack
        assert one.key != other.key


@pytest.mark.parametrize(("name", "images"), [("jb-top3", 30), ("k-center", 5_000), ("dfme", 0)])
def test_each_attack_gets_the_images_it_starts_from(name, images):
    """A few balanced seeds, a pool, or nothing."""
    cell = WORLDS["demo"]().extract(name, 30)
    seeds, further = starting_images(cell.attack, cell.query_set, cell.n_seed, 0, True, CPU)
    assert seeds.shape == (images, 3, 32, 32)
    assert further == {}


def test_the_bandit_is_told_the_pools_classes():
    """Two levels: which set, and which class of it."""
    cell = WORLDS["demo"]().extract("knockoff", 30)
    _, further = starting_images(cell.attack, cell.query_set, cell.n_seed, 0, True, CPU)
    groups = further["groups"]
    assert groups.shape == (5_000, 2)
    assert set(groups[:, 0].tolist()) == {0, 1}
    # a fine class belongs to one set
    assert len({tuple(pair) for pair in groups.tolist()}) == len(set(groups[:, 1].tolist()))


def test_sets_are_mixed_without_mixing_their_classes():
    """Labels move up by the classes before them."""
    parts = (Composed("digits", "thief", 5), Composed("grey-digits", "thief", 7))
    mixed, sets = Mixed(parts).load(), [part.load() for part in parts]
    assert mixed.name == Mixed(parts).name == "digits+grey-digits"
    assert np.array_equal(mixed.images, np.concatenate([one.images for one in sets]))
    assert mixed.labels.tolist() == [*sets[0].labels.tolist(), *(sets[1].labels + 10).tolist()]
    assert mixed.extra["coarse"].tolist() == [0] * 5 + [1] * 7
    assert mixed.classes[10] == "grey-digits/0"


@every_world
def test_data_free_extraction_has_the_papers_own_model_there(world):
    """Victim and clone are a ResNet34-8x each in the paper (§IV-A); smaller worlds have one victim."""
    made = WORLDS[world]()
    stolen, other = made.extract("dfme", 0), made.extract("jb-top3", made.n_seed_small)
    if world == "paper":
        assert stolen.victim.architecture == stolen.surrogate == ResNet8x(34)
        assert other.victim.architecture == other.surrogate == made.surrogate
    else:
        assert (stolen.victim, stolen.surrogate) == (other.victim, other.surrogate)


def test_foreign_weights_do_not_start_another_architecture():
    """ImageNet's weights are VGG16-BN's: the clone of data-free extraction starts from random ones."""
    made = WORLDS["paper"]()
    made = replace(made, initial=made.initial_named("imagenet"))
    assert made.extract("jb-top3", 500).initial == made.initial
    assert made.extract("dfme", 0).initial is None


def test_weights_to_start_from():
    """Only what fits the world's surrogate is offered."""
    demo, paper = WORLDS["demo"](), WORLDS["paper"]()
    assert demo.initial_named("random") is None
    assert isinstance(demo.initial_named("public"), PublicWeights)
    assert demo.initial_named("public").data not in (demo.victim_data, demo.query_set)
    assert isinstance(paper.initial_named("imagenet"), ImagenetWeights)
    with pytest.raises(RedhandedError, match=r"^initial: [^\n]+$"):
        demo.initial_named("imagenet")


def test_released_seeds_are_balanced_for_500_of_cifar10_alone():
    """The released code has one folder of balanced seeds."""
    paper = WORLDS["paper"]()
    assert balanced_seeds(paper.query_set, 500, "released")
    assert not balanced_seeds(paper.query_set, 5_000, "released")
    assert balanced_seeds(paper.query_set, 5_000, "corrected")
    assert not balanced_seeds(WORLDS["demo"]().query_set, 500, "released")


@every_world
def test_an_encoder_of_another_loss_differs_in_nothing_else(world):
    made = WORLDS[world]()
    for loss in ("per-pair", "released"):
        config = made.train_encoder(loss).config
        assert config == replace(made.encoder, loss=loss)


def test_no_field_of_the_encoder_is_dropped():
    """Whatever a world says of its encoder reaches the cell, its margin among it."""
    made = WORLDS["demo"]()
    odd = replace(made, encoder=replace(made.encoder, margin_squared=made.encoder.margin_squared + 1))
    assert odd.train_encoder().config.margin_squared == made.encoder.margin_squared + 1


@pytest.mark.parametrize("seed", [0, 3])
def test_a_tuning_shuffles_its_stream_by_its_own_seed(seed: int) -> None:
    world = WORLDS["demo"]()
    tuning = Tune(world.name, DETECTORS["blacklight"](world), world.judging.common, seed=seed)
    assert tuning.distinct.seed == seed
