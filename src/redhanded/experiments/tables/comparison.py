"""Every detector on the same streams at the same false-positive rate."""

from dataclasses import dataclass, field

from redhanded.errors import RedhandedError
from redhanded.experiments.cells import Detect, Honest, Tune
from redhanded.experiments.worlds.attacks import ATTACKS
from redhanded.experiments.worlds.detectors import DETECTORS
from redhanded.experiments.worlds.world import World

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
