"""Every detector on the same streams at the same false-positive rate."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from redhanded.errors import RedhandedError
from redhanded.experiments.cells import Detect, Honest, Tune, Watched
from redhanded.experiments.runner.store import Record
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
    cell: Detect | Honest | Watched
    tuned: Tune

    def record(self, found: Record | None) -> Record | None:
        """Return what the cell's record says of this detector: a watched theft has several."""
        if found is None or not isinstance(self.cell, Watched):
            return found
        return self.cell.seen_by(self.tuned, found)


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
        world, common = self.world, self.world.judging.common
        tuned = {
            name: Tune(world.name, DETECTORS[name](world), common, self.fpr, self.seed)
            for name in self.detectors
        }
        places = tuple(
            Place(name, stream, cell, judge)
            for stream in self.streams or (HONEST, *world.judging.natural, *THIEVES)
            for (name, judge), cell in zip(tuned.items(), self._cells(stream, tuned.values()), strict=True)
        )
        object.__setattr__(self, "places", places)

    def _cells(self, stream: str, tuned: Iterable[Tune]) -> tuple[Detect | Honest | Watched, ...]:
        world, judging = self.world, self.world.judging
        honest = tuple(Honest(judge, judging.heldout) for judge in tuned)
        if stream == HONEST:
            return honest
        if stream in judging.natural:
            return tuple(Honest(user.calibration, judging.natural[stream], beside=user) for user in honest)
        if stream in ATTACKS:
            return world.detected(world.extract(stream, world.n_seed_large, self.seed), honest)
        known = ", ".join((HONEST, *judging.natural, *ATTACKS))
        raise RedhandedError(f"streams: the {world.name} world has no {stream!r}; choose from {known}")
