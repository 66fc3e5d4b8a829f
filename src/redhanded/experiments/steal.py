"""Run an attack against any oracle and keep what it sent: the caller's loop that design calls measuring."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from redhanded.experiments.querylog import QueryLog
from redhanded.lab.models import Architecture, build
from redhanded.lab.training import Progress
from redhanded.lab.types import Attack, Images, Oracle
from redhanded.lab.victim import Budgeted


@dataclass(frozen=True)
class Loot:
    """What an attack brought home."""

    clone: nn.Module
    log: QueryLog
    queries: int
    round_queries: tuple[int, ...]
    """Queries sent up to the end of each round."""
    round_scores: tuple[float, ...]
    """The caller's score of each round's surrogate."""


def steal(
    attack: Attack,
    oracle: Oracle,
    seeds: Images,
    architecture: Architecture,
    classes: int,
    generator: torch.Generator,
    *,
    score: Callable[[nn.Module], float],
    progress: Progress,
) -> Loot:
    """Run `attack` on seeds [n, 3, h, w] within its budget; `score` is asked after every round."""
    counted = Budgeted(oracle, attack.budget)
    rounds, scores, sent = [], [], []
    for part in attack.run(
        counted,
        seeds,
        new_surrogate=lambda: build(architecture, classes, generator, seeds.device),
        generator=generator,
    ):
        rounds.append(part)
        scores.append(score(part.surrogate))
        sent.append(counted.queries)
        progress(counted.queries, attack.budget)
    return Loot(rounds[-1].surrogate, QueryLog.of(rounds), counted.queries, tuple(sent), tuple(scores))
