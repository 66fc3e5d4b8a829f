"""Every detector on the same streams at the same false-positive rate."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from redhanded.errors import RedhandedError
from redhanded.experiments.attacks import ATTACKS
from redhanded.experiments.cells import Detect, Honest, TrainHardness, TrainOutlierClassifier, TrainSeat, Tune
from redhanded.experiments.cells.judges import (
    Blacklight,
    Hoda,
    Judge,
    Likelihood,
    Outliers,
    Prada,
    Similarity,
    Stateful,
)
from redhanded.experiments.cells.vqvae import TrainPrior, TrainVqVae
from redhanded.experiments.world import World


def _seat(world: World) -> Similarity:
    judging, plain = world.judging, world.train_encoder()
    training = plain.config.contrastive
    if judging.seat_epochs is not None:
        training = replace(training, epochs=judging.seat_epochs)
    base = replace(plain, config=replace(plain.config, contrastive=training))
    return Similarity(TrainSeat(base, world.train_victim(), judging.seat_pgd, judging.seat_images))


def _vqvae(world: World) -> TrainVqVae:
    judging = world.judging
    return TrainVqVae(
        world.name, world.victim_data, world.test, judging.vqvae, judging.vqvae_updates, judging.vqvae_batch
    )


def _vae(
    world: World,
    spread: Literal["running", "error"] = "running",
    sides: Literal["one", "two"] = "one",
) -> Likelihood:
    return Likelihood(_vqvae(world), spread, sides, world.judging.own_sets)


def _outliers(world: World) -> Outliers:
    judging = world.judging
    return Outliers(
        TrainOutlierClassifier(
            world.name,
            judging.inside,
            judging.outside,
            world.test,
            world.surrogate,
            judging.classifier_training,
        )
    )


def _hoda(world: World) -> Hoda:
    judging = world.judging
    return Hoda(
        TrainHardness(world.name, judging.inside, world.test, world.surrogate, judging.classifier_training)
    )


DETECTORS: Mapping[str, Callable[[World], Judge]] = {
    "similarity": lambda world: Similarity(world.train_encoder()),
    "similarity-released": lambda world: Similarity(world.train_encoder("released")),
    "seat": _seat,
    "vae": _vae,
    "vae-error": lambda world: _vae(world, spread="error"),
    "vae-two-sided": lambda world: _vae(world, sides="two"),
    "vae-elbo": lambda world: replace(
        _vae(world), model=TrainPrior(_vqvae(world), updates=world.judging.prior_updates)
    ),
    "prada": lambda world: Prada(world.train_victim()),
    "stateful": lambda world: Stateful(world.train_encoder()),
    "blacklight": lambda world: Blacklight(),  # noqa: ARG005 - it needs no network
    "outliers": _outliers,
    "hoda": _hoda,
}
"""The detectors by the names that arrive from outside."""

HONEST = "honest"
"""The held-out stream of the victim's kind."""
THIEVES = ("jb-top3", "jba-pgd", "jba-cw", "dfme", "random")
"""The attacks of a comparison, unless told otherwise."""


@dataclass(frozen=True)
class Place:
    """One place of the comparison: a detector, a stream, and the cell that measures it."""

    detector: str
    stream: str
    cell: Detect | Honest


@dataclass(frozen=True)
class Comparison:
    """Detectors by streams, in one world, all tuned on the same stream to the same false-positive rate."""

    world: World
    detectors: tuple[str, ...] = tuple(DETECTORS)
    streams: tuple[str, ...] = ()
    fpr: float = 1e-4
    seed: int = 0
    places: tuple[Place, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Make the cells; raises `RedhandedError` for a stream that there is not."""
        places = tuple(
            self._place(detector, stream) for stream in self._streams() for detector in self.detectors
        )
        object.__setattr__(self, "places", places)

    def _streams(self) -> tuple[str, ...]:
        return self.streams or (HONEST, *self.world.judging.natural, *THIEVES)

    def _place(self, detector: str, stream: str) -> Place:
        world, judging = self.world, self.world.judging
        tuned = Tune(world.name, DETECTORS[detector](world), judging.common, self.fpr, self.seed)
        honest = Honest(tuned, judging.heldout)
        if stream == HONEST:
            return Place(detector, stream, honest)
        if stream in judging.natural:
            return Place(detector, stream, Honest(tuned, judging.natural[stream], beside=honest))
        if stream in ATTACKS:
            stolen = world.extract(stream, world.n_seed_large, self.seed)
            return Place(detector, stream, Detect(tuned, stolen, honest))
        known = ", ".join((HONEST, *judging.natural, *ATTACKS))
        raise RedhandedError(f"streams: the {world.name} world has no {stream!r}; choose from {known}")
