"""The loop that measures: what it keeps, what it scores, and how it goes on."""

import weakref
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from redhanded.errors import BudgetExhaustedError
from redhanded.experiments.measure.steal import Tally, steal
from redhanded.lab.types import Round


@dataclass(frozen=True)
class Counting:
    """Sends its rounds, of which it is told the sizes."""

    budget: int
    sizes: tuple[int, ...]
    order = "source"
    starts_from = "nothing"
    answers = "labels"

    def run(self, oracle, seeds, *, new_surrogate, generator, watched=lambda: None) -> Iterator[Round]:
        for size in self.sizes:
            images = torch.full((size, 3, 2, 2), 0.5)
            unknown = torch.full((size,), -1)
            part = Round(images, images + 0, oracle(images), unknown, unknown, "student", new_surrogate())
            watched()
            yield part


def victim(images: Tensor) -> Tensor:
    return torch.eye(2)[torch.zeros(len(images), dtype=torch.int64)]


def play(attack, scores=None, **further):
    asked = iter(scores or [n / 100 for n in range(100)])
    _, tally = steal(
        attack,
        victim,
        torch.empty(0, 3, 2, 2),
        nn.Identity,
        torch.Generator(),
        score=lambda clone: next(asked),
        progress=lambda done, of: None,
        **further,
    )
    return tally


def test_rounds_go_to_the_log():
    attack = Counting(10, (4, 3, 2))
    logged: list[int] = []
    seen: list[int] = []
    away = play(attack, log=lambda part: logged.append(len(part.sent)), watch=lambda part: seen.append(1))
    assert logged == [4, 3, 2]
    assert seen == [1, 1, 1]
    assert (away.queries, away.round_queries, away.round_scores) == (9, [4, 7, 9], [0.0, 0.01, 0.02])


def test_a_logged_round_is_let_go():
    """No round but the last is alive when the next is made."""
    alive: list[weakref.ref] = []

    def check():
        assert sum(ref() is not None for ref in alive) <= 1

    play(Counting(20, (1,) * 20), log=lambda part: alive.append(weakref.ref(part.sent)), watched=check)
    assert len(alive) == 20


def test_the_clone_is_scored_every_fiftieth_of_the_budget_and_at_the_end():
    found = play(Counting(500, (13,) * 4))
    assert found.round_queries == [13, 26, 39, 52]
    assert play(Counting(500, (13, 4, 4, 4, 4))).round_queries == [13, 25, 29]


def test_a_last_clone_without_queries_of_its_own_is_scored():
    """It was trained for longer than the one before, on the same answers."""
    found = play(Counting(10, (4, 0)))
    assert (found.round_queries, found.round_scores) == ([4, 4], [0.0, 0.01])


def test_and_once_each_when_table_iii_asks():
    """After a 400th and a 40th of the budget."""
    found = play(Counting(4_000, (1,) * 200))
    assert found.round_queries == [1, 10, 90, 100, 180, 200]


@pytest.mark.parametrize("stop", range(1, 10))
def test_it_counts_on_from_a_tally(stop):
    """As if it had never stopped, whichever round was the last."""
    sizes = (4, 0, 7, 1, 1, 12, 3, 3, 9, 2)
    whole = play(Counting(500, sizes))
    scores = [n / 100 for n in range(100)]
    tally = Tally()

    class Stopped(Exception):  # noqa: N818 - a signal
        pass

    def stopping():
        nonlocal left
        left -= 1
        if left < 0:
            raise Stopped

    left = stop
    with pytest.raises(Stopped):
        play(Counting(500, sizes), scores, tally=tally, watched=stopping)
    assert tally.queries == sum(sizes[:stop])
    scored = len(tally.round_scores)
    assert play(Counting(500, sizes[stop:]), scores[scored:], tally=tally) == whole


def test_the_budget_is_that_of_all_slices():
    with pytest.raises(BudgetExhaustedError):
        play(Counting(10, (4,)), tally=Tally(7, [7], [0.5]))
