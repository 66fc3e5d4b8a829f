"""Run an attack against any oracle and keep what it sent: the caller's loop that design calls measuring."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from redhanded.experiments.querylog import QueryLog
from redhanded.lab.training import Progress
from redhanded.lab.types import Attack, Images, NewModel, Oracle, Round
from redhanded.lab.victim import Budgeted


@dataclass(frozen=True)
class Loot:
    """What an attack brought home."""

    clone: nn.Module
    log: QueryLog
    queries: int
    round_queries: tuple[int, ...]
    """Queries sent up to the end of each round that was scored."""
    round_scores: tuple[float, ...]
    """The caller's score of its surrogate."""


def steal(
    attack: Attack,
    oracle: Oracle,
    seeds: Images,
    new_surrogate: NewModel,
    generator: torch.Generator,
    *,
    score: Callable[[nn.Module], float],
    progress: Progress,
    watch: Callable[[Round], None] = lambda part: None,  # noqa: ARG005 - looks away
    **further: Any,
) -> Loot:
    """Run `attack` within its budget; every round is shown to `watch`, `further` is handed to the attack.

    `score` is asked at the first round, then every fiftieth of the budget (the rounds of a data-free attack
    are many and small), and at the end.
    """
    counted = Budgeted(oracle, attack.budget)
    rounds: list[Round] = []
    scores: list[float] = []
    scored: list[int] = []
    for part in attack.run(counted, seeds, new_surrogate=new_surrogate, generator=generator, **further):
        rounds.append(part)
        watch(part)
        if not scored or counted.queries - scored[-1] >= max(1, attack.budget // 50):
            scores.append(score(part.surrogate))
            scored.append(counted.queries)
        progress(counted.queries, attack.budget)
    if scored[-1] < counted.queries:
        scores.append(score(rounds[-1].surrogate))
        scored.append(counted.queries)
    return Loot(rounds[-1].surrogate, QueryLog.of(rounds), counted.queries, tuple(scored), tuple(scores))
