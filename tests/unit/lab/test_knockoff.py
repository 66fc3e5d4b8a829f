"""The gradient bandit and its rewards against hand computation, and the attack around them."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from redhanded.errors import RedhandedError
from redhanded.lab.attacks import knockoff
from redhanded.lab.attacks.knockoff import Choice, Draw, KnockoffNets, Policy, Reward, Rewards
from redhanded.lab.models import ConvNet, build
from redhanded.lab.training import Training
from redhanded.lab.types import Adaptation, Adapted, Kind, Round, as_is

CLASSES = 5
SURROGATE = ConvNet(((4,), (6,)))
FINAL = Training(epochs=2, batch=16, lr=0.05)
TREE = torch.tensor([[0, 10], [0, 10], [0, 11], [7, 10], [7, 12], [7, 13], [7, 13]])
"""Two coarse classes, of two and three fine ones; there is a class 10 below each of them."""


def policy(groups: Tensor = TREE, seed: int = 0) -> Policy:
    return Policy(groups, torch.Generator().manual_seed(seed))


def draw_of(*choices: tuple[list[int], list[float], int]) -> Draw:
    """A draw as if made with these probabilities."""
    path = (
        Choice(torch.tensor(siblings), torch.tensor(chances, dtype=torch.float64), chosen)
        for siblings, chances, chosen in choices
    )
    return Draw(0, tuple(path))


def close(preferences: Tensor, expected: list[float]) -> None:
    torch.testing.assert_close(preferences, torch.tensor(expected, dtype=torch.float64))


def test_two_levels_by_hand() -> None:
    bandit = policy()
    # nodes of the lower level: 0-10, 0-11, 7-10, 7-12, 7-13
    assert [len(level) for level in bandit.preferences] == [2, 5]
    bandit.learn(draw_of(([0, 1], [0.5, 0.5], 1), ([2, 3, 4], [1 / 3, 1 / 3, 1 / 3], 3)), 2.0)
    close(bandit.preferences[0], [0, 0])  # the first reward is its own mean
    close(bandit.preferences[1], [0, 0, 0, 0, 0])
    assert bandit.baseline == 2
    bandit.learn(draw_of(([0, 1], [0.5, 0.5], 0), ([0, 1], [0.5, 0.5], 1)), 4.0)
    # mean 3, 1 above it, first time of both
    close(bandit.preferences[0], [0.5, -0.5])
    close(bandit.preferences[1], [-0.5, 0.5, 0, 0, 0])
    bandit.learn(draw_of(([0, 1], [0.6, 0.4], 1), ([2, 3, 4], [0.2, 0.3, 0.5], 3)), 0.0)
    # mean 2, 2 below it, second time of both: a step of -1
    close(bandit.preferences[0], [0.5 + 0.6, -0.5 - 0.6])
    close(bandit.preferences[1], [-0.5, 0.5, 0.2, -0.7, 0.5])
    bandit.learn(draw_of(([0, 1], [0.9, 0.1], 0), ([0, 1], [0.25, 0.75], 0)), 6.0)
    # mean 3, 3 above it; second time of the coarse class, first of the fine one
    close(bandit.preferences[0], [1.1 + 1.5 * 0.1, -1.1 - 1.5 * 0.1])
    close(bandit.preferences[1], [-0.5 + 3 * 0.75, 0.5 - 3 * 0.75, 0.2, -0.7, 0.5])
    assert bandit.baseline == 3


def test_draws_with_the_softmax_of_preferences() -> None:
    bandit = policy()
    bandit.preferences[0][:] = torch.tensor([math.log(3), 0.0])
    bandit.preferences[1][:] = torch.tensor([0.0, math.log(4), 5.0, 5.0, 5.0 + math.log(2)])
    draw = bandit.draw()
    top, below = draw.path
    close(top.probabilities, [0.75, 0.25])
    close(below.probabilities, [0.2, 0.8] if top.chosen == 0 else [0.25, 0.25, 0.5])


def test_chances_are_kept() -> None:
    groups = torch.tensor([[0], [1]]).repeat(4_000, 1)
    bandit = policy(groups)
    bandit.preferences[0][:] = torch.tensor([0.0, math.log(4)])
    drawn = Counter(bandit.draw().path[0].chosen for _ in range(2_000))
    assert drawn[1] / 2_000 == pytest.approx(0.8, abs=0.04)


@settings(derandomize=True, deadline=None, max_examples=20)
@given(st.integers(1, 30), st.integers(1, 3), st.integers(0, 1_000))
def test_every_image_is_drawn_once_by_a_way_that_leads_to_it(rows: int, levels: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    groups = torch.randint(0, 3, (rows, levels), generator=generator)
    bandit = Policy(groups, generator)
    drawn = []
    remaining = Counter(tuple(row) for row in groups.tolist())
    while bandit.left:
        draw = bandit.draw()
        path = groups[draw.row].tolist()
        for depth, choice in enumerate(draw.path):
            assert float(choice.probabilities.sum()) == pytest.approx(1)
            # a class has a chance as long as there are images below it
            alive = {key[depth] for key in remaining if key[:depth] == tuple(path[:depth])}
            assert int((choice.probabilities > 0).sum()) == len(alive)
            assert choice.chosen in choice.siblings[choice.probabilities > 0]
        drawn.append(draw.row)
        remaining -= Counter([tuple(path)])
        bandit.learn(draw, float(torch.randn((), generator=generator)))
    assert sorted(drawn) == list(range(rows))


def test_images_of_a_class_come_in_random_order() -> None:
    groups = torch.zeros(50, 1, dtype=torch.long)
    one, other = ([bandit.draw().row for _ in range(50)] for bandit in (policy(groups), policy(groups, 1)))
    assert one != other
    assert one != sorted(one)
    assert one == [again.row for bandit in [policy(groups)] for again in (bandit.draw() for _ in range(50))]


def test_siblings_are_told_apart_by_what_is_above_them() -> None:
    bandit = policy()
    seen = {}
    while bandit.left:
        draw = bandit.draw()
        seen.setdefault(draw.path[1].chosen, set()).add(tuple(TREE[draw.row].tolist()))
    assert seen == {0: {(0, 10)}, 1: {(0, 11)}, 2: {(7, 10)}, 3: {(7, 12)}, 4: {(7, 13)}}


def answers(rows: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    victims, thiefs = torch.randn(2, rows, CLASSES, generator=generator).mul(2).softmax(2)
    return victims, thiefs.log()


def literal(kind: Reward, victims: np.ndarray, thiefs: np.ndarray) -> list[float]:
    """The formulas, over everything seen up to each answer."""
    columns = []
    for n in range(len(victims)):
        first, second = np.sort(victims[n])[::-1][:2]
        mean = victims[: n + 1].mean(0)
        columns.append(
            (
                first - second,
                sum(max(0.0, y - m) for y, m in zip(victims[n], mean, strict=True)),
                -sum(y * log for y, log in zip(victims[n], thiefs[n], strict=True)),
            )
        )
    if kind != "all":
        return [column[("certainty", "diversity", "loss").index(kind)] for column in columns]
    mean, variance, found = np.zeros(3), np.zeros(3), []
    for n, column in enumerate(np.array(columns), 1):
        mean = mean + (column - mean) / n
        variance = variance + ((column - mean) ** 2 - variance) / n
        scores = [
            (c - m) / math.sqrt(v) if v > 0 else 0.0 for c, m, v in zip(column, mean, variance, strict=True)
        ]
        found.append(sum(scores) / 3)
    return found


@pytest.mark.parametrize("kind", ["certainty", "diversity", "loss", "all"])
def test_rewards_are_the_formulas(kind: Reward) -> None:
    victims, thiefs = answers(12, 3)
    rewards = Rewards(kind)
    found = [rewards(answer, thief) for answer, thief in zip(victims, thiefs, strict=True)]
    expected = literal(kind, victims.double().numpy(), thiefs.double().numpy())
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert len({round(value, 6) for value in found}) > 10


@pytest.mark.parametrize("kind", ["certainty", "diversity", "loss", "all"])
def test_rewards_of_hard_labels(kind: Reward) -> None:
    victims, thiefs = answers(12, 4)
    victims = torch.eye(CLASSES)[victims.argmax(1)]
    rewards = Rewards(kind)
    found = [rewards(answer, thief) for answer, thief in zip(victims, thiefs, strict=True)]
    expected = literal(kind, victims.double().numpy(), thiefs.double().numpy())
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert (set(found) == {1.0}) == (kind == "certainty")  # always certain, never news


def test_a_rewarded_class_is_asked_more() -> None:
    bandit = policy(torch.arange(4).repeat(500)[:, None])
    drawn = []
    for _ in range(400):
        draw = bandit.draw()
        drawn.append(draw.path[0].chosen)
        bandit.learn(draw, 1.0 if draw.path[0].chosen == 2 else 0.0)
    assert drawn[200:].count(2) > 100


def images(count: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def victim(images: Tensor) -> Tensor:
    weights = torch.randn(3 * 8 * 8, CLASSES, generator=torch.Generator().manual_seed(99))
    return ((images - 0.5).flatten(1) @ weights).softmax(1)


def run(
    attack: KnockoffNets,
    pool: Tensor,
    groups: Tensor | None,
    adapt: Adaptation = as_is,
    asked: list[Tensor] | None = None,
) -> list[Round]:
    generator = torch.Generator().manual_seed(0)

    def oracle(images: Tensor) -> Tensor:
        if asked is not None:
            asked.append(images)
        return victim(images)

    return list(
        attack.run(
            oracle,
            pool,
            adapt=adapt,
            new_surrogate=lambda: build(SURROGATE, CLASSES, generator),
            generator=generator,
            groups=groups,
        )
    )


def places(pool: Tensor, sent: Tensor) -> list[int]:
    return [int((pool == image).flatten(1).all(1).nonzero()[0, 0]) for image in sent]


def two_levels(rows: int) -> Tensor:
    return torch.stack([torch.arange(rows) % 2, torch.arange(rows) % 6], 1)


@pytest.mark.parametrize("reward", ["certainty", "diversity", "loss", "all"])
@pytest.mark.parametrize(("batch", "sizes"), [(1, [1] * 20), (8, [8, 8, 4])])
def test_budget_is_spent_exactly_on_different_images(reward: Reward, batch: int, sizes: list[int]) -> None:
    pool, asked = images(30), []
    attack = KnockoffNets(20, reward=reward, batch=batch, final_training=FINAL)
    rounds = run(attack, pool, two_levels(30), asked=asked)
    sent = torch.cat([part.sent for part in rounds])
    assert torch.equal(torch.cat(asked), sent)
    assert [len(part.sent) for part in rounds] == sizes
    assert len(set(places(pool, sent))) == 20
    for part in rounds:
        assert part.kind == "pool"
        assert (part.parents == -1).all()
        assert (part.targets == -1).all()
        assert torch.equal(part.labels, victim(part.sent))
    # one thief learns on; the clone is another
    assert len({id(part.surrogate) for part in rounds[:-1]}) == 1
    assert rounds[-1].surrogate is not rounds[0].surrogate


def test_the_bandit_is_told_what_the_answers_were_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, float]] = []

    class Watched(Policy):
        def learn(self, draw: Draw, reward: float) -> None:
            told.append((draw.row, reward))
            super().learn(draw, reward)

    monkeypatch.setattr(knockoff, "Policy", Watched)
    pool = images(30)
    attack = KnockoffNets(20, reward="certainty", batch=4, order="shuffled", final_training=FINAL)
    rounds = run(attack, pool, two_levels(30))
    sent = torch.cat([part.sent for part in rounds[:-1]])  # the last teaches nobody
    assert [row for row, _ in told] == places(pool, sent)
    top = victim(sent).topk(2).values
    np.testing.assert_allclose([reward for _, reward in told], top[:, 0] - top[:, 1], atol=1e-6)


def test_only_what_filtering_kept_is_learnt_from(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []

    class Watched(Policy):
        def learn(self, draw: Draw, reward: float) -> None:
            told.append(draw.row)
            super().learn(draw, reward)

    def dark(images: Tensor, kind: Kind) -> Adapted:
        assert kind == "pool"
        keep = images[:, 0, 0, 0] < 0.5
        return Adapted(keep, images[keep])

    monkeypatch.setattr(knockoff, "Policy", Watched)
    pool = images(60)
    kept = set((pool[:, 0, 0, 0] < 0.5).nonzero()[:, 0].tolist())
    for batch in (1, 3):
        told.clear()
        attack = KnockoffNets(20, batch=batch, final_training=FINAL)
        rounds = run(attack, pool, two_levels(60), dark)
        sent = places(pool, torch.cat([part.sent for part in rounds]))
        assert len(sent) == len(set(sent)) == 20
        assert set(sent) < kept
        assert told == sent[: len(told)]
        assert len(told) >= 20 - batch
        assert all(len(part.sent) for part in rounds)
    # a pool that cannot give the budget is used up
    rounds = run(replace(attack, budget=50), pool, two_levels(60), dark)
    assert sorted(places(pool, torch.cat([part.sent for part in rounds]))) == sorted(kept)


def test_the_first_queries_may_all_be_dropped() -> None:
    told = []

    def late(images: Tensor, kind: Kind) -> Adapted:
        told.append(kind)
        keep = torch.full((len(images),), len(told) > 3)
        return Adapted(keep, images[keep])

    rounds = run(KnockoffNets(9, batch=3, final_training=FINAL), images(30), two_levels(30), late)
    assert [len(part.sent) for part in rounds] == [3, 3, 3]


def test_keeping_nothing_asks_nothing() -> None:
    def nothing(images: Tensor, kind: Kind) -> Adapted:
        return Adapted(torch.zeros(len(images), dtype=torch.bool), images[:0])

    asked: list[Tensor] = []
    rounds = run(KnockoffNets(9, final_training=FINAL), images(20), two_levels(20), nothing, asked)
    assert asked == []
    assert [len(part.sent) for part in rounds] == [0]


def test_a_small_class_is_exhausted_and_the_attack_goes_on() -> None:
    groups = torch.ones(30, 1, dtype=torch.long)
    groups[:3] = 0
    pool = images(30)
    rounds = run(KnockoffNets(30, batch=4, final_training=FINAL), pool, groups)
    assert sorted(places(pool, torch.cat([part.sent for part in rounds]))) == list(range(30))


def test_the_papers_settings_are_the_defaults() -> None:
    attack = KnockoffNets()
    assert (attack.budget, attack.batch, attack.reward) == (50_000, 1, "all")
    assert attack.final_training == Training(100, 64, "sgd", 0.01, 0.5, False, 0.0, "step", 60, 0.1, False)
    assert attack.online_training == replace(attack.final_training, epochs=1)


@pytest.mark.parametrize("count", [0, 19])
def test_a_pool_below_the_budget_is_refused(count: int) -> None:
    with pytest.raises(RedhandedError, match=rf"^budget: [^\n]*\b{count}\b[^\n]*; [^\n]+$"):
        run(KnockoffNets(20), images(count), two_levels(count))


@pytest.mark.parametrize(("groups", "got"), [(None, "none"), (two_levels(29), "29")])
def test_a_pool_without_its_classes_is_refused(groups: Tensor | None, got: str) -> None:
    asked: list[Tensor] = []
    with pytest.raises(RedhandedError, match=rf"^groups: [^\n]*\b30\b[^\n]* got {got}; [^\n]+$"):
        run(KnockoffNets(20), images(30), groups, asked=asked)
    assert asked == []
