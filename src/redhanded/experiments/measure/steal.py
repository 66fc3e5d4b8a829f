"""Run an attack against any oracle and measure its clone: the caller's loop that design calls measuring."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from redhanded.lab.oracles.victim import Budgeted
from redhanded.lab.training import Progress
from redhanded.lab.types import Attack, Images, NewModel, Oracle, Round

EARLY = (400, 40)
"""Parts of the budget after which a clone is examined besides."""


@dataclass
class Tally:
    """What was counted so far; an attack that goes on where it stopped is given what it had."""

    queries: int = 0
    round_queries: list[int] = field(default_factory=list)
    """Queries sent up to the end of each round that was scored."""
    round_scores: list[float] = field(default_factory=list)
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
    log: Callable[[Round], None] = lambda part: None,  # noqa: ARG005 - forgets
    tally: Tally | None = None,
    **further: Any,
) -> tuple[nn.Module, Tally]:
    """Run `attack` within its budget, and return its clone and what was counted.

    Every round is shown to `watch` and to `log`; none is remembered, since a long attack's would not fit.
    `further` is handed to the attack. `score` is asked at the first round, once a 400th and a 40th of the
    budget are spent (Table III), then every fiftieth (the rounds of a data-free attack are many and small),
    and at the end.
    """
    tally = Tally() if tally is None else tally
    counted = Budgeted(oracle, attack.budget)
    counted.queries = tally.queries

    def judge(surrogate: nn.Module) -> None:
        tally.round_scores.append(score(surrogate))
        tally.round_queries.append(counted.queries)

    for part in attack.run(counted, seeds, new_surrogate=new_surrogate, generator=generator, **further):
        log(part)
        watch(part)
        clone, tally.queries = part.surrogate, counted.queries
        due = _due(tally.round_queries, counted.queries, attack.budget)
        if due:
            judge(clone)
        progress(counted.queries, attack.budget)
    if not due:  # a last round that could send nothing trains its clone all the same
        judge(clone)
    return clone, tally


def _due(scored: list[int], queries: int, budget: int) -> bool:
    """Whether the clone is to be examined after so many queries, having been so after those scored."""
    if not scored or queries - scored[-1] >= max(1, budget // 50):
        return True
    return any(scored[-1] < budget // part <= queries for part in EARLY)
