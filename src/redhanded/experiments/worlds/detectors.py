"""The detectors by the names that arrive from outside, untuned, at the size of a world."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal

from redhanded.experiments.cells import TrainHardness, TrainOutlierClassifier, TrainSeat, judges
from redhanded.experiments.cells.vqvae import TrainPrior, TrainVqVae
from redhanded.experiments.worlds.world import World


def _seat(world: World) -> judges.Similarity:
    judging, plain = world.judging, world.train_encoder()
    training = plain.config.contrastive
    if judging.seat_epochs is not None:
        training = replace(training, epochs=judging.seat_epochs)
    base = replace(plain, config=replace(plain.config, contrastive=training))
    return judges.Similarity(TrainSeat(base, world.train_victim(), judging.seat_pgd, judging.seat_images))


def _vqvae(world: World) -> TrainVqVae:
    judging = world.judging
    return TrainVqVae(
        world.name, world.victim_data, world.test, judging.vqvae, judging.vqvae_updates, judging.vqvae_batch
    )


def _vae(
    world: World, spread: Literal["running", "error"] = "running", sides: Literal["one", "two"] = "one"
) -> judges.Likelihood:
    return judges.Likelihood(_vqvae(world), spread, sides, world.judging.own_sets)


def _outliers(world: World) -> judges.Outliers:
    judging = world.judging
    sets = (judging.inside, judging.outside, world.test)
    return judges.Outliers(
        TrainOutlierClassifier(world.name, *sets, world.surrogate, judging.classifier_training)
    )


def _hoda(world: World) -> judges.Hoda:
    judging = world.judging
    return judges.Hoda(
        TrainHardness(world.name, judging.inside, world.test, world.surrogate, judging.classifier_training)
    )


DETECTORS: Mapping[str, Callable[[World], judges.Judge]] = {
    "similarity": lambda world: judges.Similarity(world.train_encoder()),
    "similarity-released": lambda world: judges.Similarity(world.train_encoder("released")),
    "seat": _seat,
    "vae": _vae,
    "vae-error": lambda world: _vae(world, spread="error"),
    "vae-two-sided": lambda world: _vae(world, sides="two"),
    "vae-elbo": lambda world: replace(
        _vae(world), model=TrainPrior(_vqvae(world), updates=world.judging.prior_updates)
    ),
    "prada": lambda world: judges.Prada(world.train_victim()),
    "stateful": lambda world: judges.Stateful(world.train_encoder()),
    "blacklight": lambda world: judges.Blacklight(),  # noqa: ARG005 - it needs no network
    "outliers": _outliers,
    "hoda": _hoda,
}
"""The detectors by the names that arrive from outside."""
