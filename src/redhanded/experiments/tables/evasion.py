"""The cost to steal: the fewest accounts that a thief who knows the detector gets away with (§VII).

Each adaptation is a theft of its own. Orders and account policies change neither what is asked nor what is
learnt, so a theft is replayed in every order and under every policy before the same detector.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from operator import attrgetter
from typing import Any

import torch

from redhanded.detectors.accounts import benign_floor
from redhanded.detectors.base import Detector
from redhanded.experiments.cells import Extract
from redhanded.experiments.cells.calibrate import benign_stream
from redhanded.experiments.cells.tuned import one_pass
from redhanded.experiments.measure.remembered import Remembered
from redhanded.experiments.measure.reorder import reordered
from redhanded.experiments.measure.replay import replay
from redhanded.experiments.runner.context import Context
from redhanded.experiments.runner.store import Record
from redhanded.experiments.worlds.adaptations import ADAPTATIONS
from redhanded.experiments.worlds.world import World
from redhanded.lab.oracles.victim import as_numpy
from redhanded.lab.sybil import LeaveAfter, Policy, RandomAssignment, Rotation, UntilBanned
from redhanded.lab.types import Order

ORDERS: tuple[Order, ...] = ("source", "batch64", "target", "shuffled")

POLICIES: Mapping[str, Policy] = {
    "one until banned": UntilBanned(),
    "4 in rotation": Rotation(4),
    "8 at random": RandomAssignment(8),
    "leave after 100": LeaveAfter(100),
    "leave after 250": LeaveAfter(250),
}
"""Account policies by the names that arrive from outside."""

Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class Attempt:
    """One way to steal, and what it cost."""

    adaptation: str
    order: str
    policy: str
    accuracy: float
    queries: int
    flags: int
    bans: int
    accounts_used: int
    benign_floor: float
    """The bans that as many queries cost an honest user, in fractions."""
    benign_floor_extrapolated: bool


def thefts(
    world: World, name: str, adaptations: Sequence[str], budget: int, seed: int = 0
) -> dict[str, Extract]:
    """Return the extraction of every adaptation, from the world's few seeds."""
    plain = world.extract(name, world.n_seed_small, seed, budget=budget)
    return {chosen: replace(plain, adaptation=ADAPTATIONS[chosen](world)) for chosen in adaptations}


def honest_floor(
    world: World, detector: Detector[Any], stolen: Extract, context: Context, tell: Tell
) -> Callable[[int], Record]:
    """Embed the world's held-out honest stream; return what gives the benign floor of a number of queries."""
    ask = as_numpy(stolen.oracle(context), context.device)
    features, answers = one_pass(detector, benign_stream(world.honest, 0), ask, tell)
    return cache(lambda queries: benign_floor(detector, features, answers, queries))


def attempts(
    stolen: Mapping[str, Extract],
    detector: Detector[Any],
    orders: Sequence[Order],
    policies: Sequence[str],
    floor: Callable[[int], Record],
    context: Context,
    tell: Tell = lambda done, of: None,  # noqa: ARG005 - says nothing
) -> Iterator[Attempt]:
    """Replay every theft in every order under every policy."""
    done, of = 0, len(stolen) * len(orders) * len(policies)
    for adaptation, cell in stolen.items():
        judge = Remembered(detector)
        log, record = cell.log(context), context.record(cell)
        for order in orders:
            sent = reordered(log, order, torch.Generator().manual_seed(cell.seed))
            for policy in policies:
                found = replay(judge, sent.images, sent.outputs, policy=POLICIES[policy])
                yield Attempt(
                    adaptation,
                    order,
                    policy,
                    float(record["accuracy"]),
                    len(sent),
                    found.flags,
                    len(found.bans),
                    found.accounts_used,
                    **floor(len(sent)),
                )
                done += 1
                tell(done, of)


def cheapest(tried: Sequence[Attempt], accuracy: float) -> Attempt | None:
    """Return the attempt that used the fewest accounts among those as accurate; then fewer flags decide."""
    good = [attempt for attempt in tried if attempt.accuracy >= accuracy]
    return min(good, key=attrgetter("accounts_used", "flags", "queries"), default=None)
