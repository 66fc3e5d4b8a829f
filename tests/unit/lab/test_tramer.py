"""Line searches against a literal loop, what they cost, and adaptive retraining."""

import math
from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from redhanded.lab.attacks.line_search import Answered, Pairs, bisect, first_of_other_classes, measure
from redhanded.lab.attacks.tramer import PASSES, Tramer
from redhanded.lab.models import Normalise, seeded
from redhanded.lab.training import Training, predict
from redhanded.lab.types import Adaptation, Adapted, Kind, Order, Round, as_is

CLASSES = 4
BRIEF = Training(epochs=2, batch=16, lr=0.05)
SEARCH = Tramer(budget=120, round_training=BRIEF, final_training=BRIEF)
RETRAIN = replace(SEARCH, strategy="local", rounds=4, local_points=60)
_WEIGHTS = torch.randn(3 * 8 * 8, CLASSES, generator=torch.Generator().manual_seed(5))


def classes_of(images: Tensor) -> Tensor:
    """A linear victim whose rows do not depend on what is asked with them."""
    return ((images.flatten(1) - 0.5)[:, :, None] * _WEIGHTS).sum(1).argmax(1)


def victim(images: Tensor) -> Tensor:
    return torch.eye(CLASSES)[classes_of(images)]


def linear(generator: torch.Generator, bias: float = 0.0) -> nn.Module:
    with seeded(generator):
        layer = nn.Linear(3 * 8 * 8, CLASSES)
    nn.init.constant_(layer.bias[:1], bias)
    return nn.Sequential(Normalise((0.5,) * 3, (0.3,) * 3), nn.Flatten(), layer)


def run(
    attack: Tramer, seed: int = 0, adapt: Adaptation = as_is, oracle: object = victim, bias: float = 0.0
) -> list[Round]:
    generator = torch.Generator().manual_seed(seed)
    return list(
        attack.run(
            oracle,  # type: ignore[arg-type]
            torch.empty(0, 3, 8, 8),
            adapt=adapt,
            new_surrogate=lambda: linear(generator, bias),
            generator=generator,
        )
    )


@cache
def played(attack: Tramer = SEARCH, seed: int = 0) -> list[Round]:
    return run(attack, seed)


def whole(rounds: list[Round], name: str) -> Tensor:
    return torch.cat([getattr(part, name) for part in rounds])


def literal_pairs(labels: list[int]) -> list[tuple[int, int]]:
    found = []
    for near, own in enumerate(labels):
        seen: list[int] = []
        for far in range(near):
            if labels[far] not in (own, *seen):
                seen.append(labels[far])
                found.append((near, far))
    return found


def literal_search(near: Tensor, far: Tensor, tolerance: float) -> tuple[Tensor, Tensor, list[Tensor]]:
    own, asked = int(classes_of(near[None])), []
    while float((near - far).norm()) > tolerance * (1 + 1e-5):
        middle = (near + far) / 2
        asked.append(middle)
        if int(classes_of(middle[None])) == own:
            near = middle
        else:
            far = middle
    return near, far, asked


def test_defaults() -> None:
    attack = Tramer()
    assert (attack.tolerance, attack.random_share) == (0.1 / 2, 0.25)  # 0.1 over [-1, 1]
    assert (attack.local_points, attack.local_share) == (1_000, 0.75)
    assert attack.round_training == attack.final_training == PASSES
    assert (PASSES.epochs, PASSES.lr, PASSES.schedule, PASSES.nesterov) == (1_000, 0.1, "step", True)
    assert PASSES.step_epochs >= PASSES.epochs  # at a constant rate


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 5), max_size=12))
def test_pairs_against_a_loop(labels: list[int]) -> None:
    near, far = first_of_other_classes(torch.tensor(labels, dtype=torch.long))
    assert list(zip(near.tolist(), far.tolist(), strict=True)) == literal_pairs(labels)


def test_steps_are_what_halving_takes(generator: torch.Generator) -> None:
    points = torch.rand(6, 3, 8, 8, generator=generator)
    points[5] = points[0] + 0.001
    near, far = torch.tensor([0, 1, 0, 2]), torch.tensor([3, 4, 5, 0])
    pairs = measure(points, near, far, 0.07)
    assert pairs.near.tolist() == [0, 1, 2]  # 0 and 5 are close enough as they are
    assert pairs.far.tolist() == [3, 4, 0]
    for at, (one, other) in enumerate(((0, 3), (1, 4), (2, 0))):
        distance = float((points[one] - points[other]).norm())
        assert int(pairs.steps[at]) == math.ceil(math.log2(distance / 0.07))
    assert len(measure(points, near[:0], far[:0], 0.07).steps) == 0


def test_bisection_against_a_literal_loop(generator: torch.Generator) -> None:
    points = torch.rand(40, 3, 8, 8, generator=generator)
    points[::3] = points[::3] / 4  # searches of different lengths
    labels = classes_of(points)
    pairs = measure(points, *first_of_other_classes(labels), 0.05)
    assert len(set(pairs.steps.tolist())) > 1
    asked: list[tuple[int, Tensor]] = []

    def answer(rows: Tensor, middles: Tensor) -> Answered:
        asked.extend(zip(rows.tolist(), middles, strict=True))
        same = classes_of(middles) == labels[pairs.near[rows]]
        return Answered(torch.ones(len(rows), dtype=torch.bool), same)

    ends = bisect(points, pairs, answer)
    assert len(asked) == int(pairs.steps.sum())
    for row, (near, far) in enumerate(zip(*ends, strict=True)):
        expected = literal_search(points[pairs.near[row]], points[pairs.far[row]], 0.05)
        torch.testing.assert_close((near, far), expected[:2], atol=1e-6, rtol=0)
        own = [middle for number, middle in asked if number == row]
        torch.testing.assert_close(own, expected[2], atol=1e-6, rtol=0)
        assert float((near - far).norm()) <= 0.05 * (1 + 1e-4)
        assert int(classes_of(near[None])) == int(labels[pairs.near[row]]) != int(classes_of(far[None]))


def test_an_unanswered_search_ends(generator: torch.Generator) -> None:
    points = torch.rand(4, 3, 8, 8, generator=generator)
    pairs = Pairs(torch.tensor([0, 1]), torch.tensor([2, 3]), torch.tensor([3, 3]))
    told: list[list[int]] = []

    def answer(rows: Tensor, middles: Tensor) -> Answered:
        del middles
        told.append(rows.tolist())
        kept = rows != 0
        return Answered(kept, torch.ones(int(kept.sum()), dtype=torch.bool))

    near, far = bisect(points, pairs, answer)
    assert told == [[0, 1], [1], [1]]
    assert torch.equal(near[0], points[0])
    assert torch.equal(far, points[2:])
    torch.testing.assert_close(near[1], points[1] / 8 + points[3] * 7 / 8)


@pytest.mark.parametrize("order", ["target", "source", "batch64"])
@pytest.mark.parametrize("seed", [0, 1])
def test_queries_are_those_of_literal_searches(order: Order, seed: int) -> None:
    points, searches = played(replace(SEARCH, order=order, budget=400), seed)
    assert (points.kind, searches.kind) == ("seed", "augmented")
    assert len(points.sent) == 100  # a quarter, between which there is more than enough to search
    assert len(points.sent) + len(searches.sent) == 400
    pairs = literal_pairs(classes_of(points.sent).tolist())
    found: list[Tensor] = []
    ends: list[Tensor] = []
    for near, far in pairs:
        if len(found) >= 300:
            break
        near_end, far_end, asked = literal_search(points.sent[near], points.sent[far], 0.05)
        ends.append((near_end - far_end).norm())
        found += asked
    wanted = torch.stack(found[:300])
    if order == "source":  # one search after the other
        torch.testing.assert_close(searches.sent, wanted, atol=1e-5, rtol=0)
    else:  # the same midpoints, in another order, but for the search that the budget cuts short
        distances = torch.cdist(searches.sent.flatten(1), torch.stack(found).flatten(1), p=1.0)
        assert distances.amin(1).max() < 1e-3
        assert len(distances.argmin(1).unique()) == 300
        assert not torch.allclose(searches.sent, wanted, atol=1e-3)
    assert max(map(float, ends)) <= 0.05 * 1.001


@pytest.mark.parametrize("order", ["target", "source", "source-shuffled", "batch64", "shuffled"])
def test_a_midpoints_parent_lies_on_its_line(order: Order) -> None:
    rounds = played(replace(SEARCH, order=order))
    sent, labels = whole(rounds, "sent"), whole(rounds, "labels").argmax(1)
    parents = whole(rounds, "parents")
    first = len(rounds[0].sent)
    assert (parents[:first] == -1).all()
    assert (whole(rounds, "targets") == -1).all()
    assert (parents[first:] < torch.arange(first, len(sent))).all()  # asked before
    halved = 0
    for place in range(first, len(sent)):
        parent = int(parents[place])
        root = parent
        while parents[root] >= 0:
            root = int(parents[root])
        assert labels[parent] == labels[root]  # the near end's class
        if parent >= first and parents[parent] >= 0:
            halved += 1
    assert halved > 5


def test_released_begins_all_searches() -> None:
    attack = replace(SEARCH, budget=400)
    released, corrected = played(replace(attack, fidelity="released")), played(attack)
    assert torch.equal(released[0].sent, corrected[0].sent)
    begun = [int((rounds[1].parents < 100).sum()) for rounds in (released, corrected)]
    points = released[0].sent
    near, far = first_of_other_classes(classes_of(points))
    middles = (points[near] + points[far]) / 2
    assert len(middles) > 150
    count = min(len(middles), 300)
    torch.testing.assert_close(released[1].sent[:count], middles[:count])
    assert begun[0] > 3 * begun[1] > 0


def test_points_are_added_until_searches_use_the_rest() -> None:
    def one_of_many(images: Tensor) -> Tensor:  # too few pairs at first
        return torch.eye(CLASSES)[(images[:, 0, 0, 0] > 0.97).long()]

    rounds = run(replace(SEARCH, budget=200), oracle=one_of_many)
    points = len(rounds[0].sent)
    assert points in (50, 100, 150, 200)
    for drawn in range(50, points, 50):
        part = rounds[0].sent[:drawn]
        near, far = first_of_other_classes(one_of_many(part).argmax(1))
        assert int(measure(part, near, far, 0.05).steps.sum()) <= 200 - drawn
    assert sum(len(part.sent) for part in rounds) == 200


@pytest.mark.parametrize("attack", [SEARCH, RETRAIN], ids=["oracle", "local"])
def test_a_victim_of_one_class_is_sent_points_alone(attack: Tramer) -> None:
    def one(images: Tensor) -> Tensor:
        return torch.eye(CLASSES)[torch.zeros(len(images), dtype=torch.long)]

    rounds = run(attack, oracle=one, bias=100.0)  # so that no point is anything else to the surrogate
    sent = whole(rounds, "sent")
    assert len(sent) == 120
    assert (whole(rounds, "parents") == -1).all()
    assert float(sent.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(sent.std()) == pytest.approx(12**-0.5, abs=0.01)


@pytest.mark.parametrize("attack", [SEARCH, RETRAIN, replace(SEARCH, order="source")], ids=["o", "l", "s"])
@pytest.mark.parametrize("budget", [1, 2, 3, 7, 50])
def test_budget_is_spent_exactly(attack: Tramer, budget: int) -> None:
    asked: list[Tensor] = []

    def watched(images: Tensor) -> Tensor:
        asked.append(images.clone())
        return victim(images)

    rounds = run(replace(attack, budget=budget), oracle=watched)
    assert sum(map(len, asked)) == budget
    assert all(len(images) for images in asked)
    assert torch.equal(torch.cat(asked), whole(rounds, "sent"))
    assert torch.equal(whole(rounds, "labels"), victim(whole(rounds, "sent")))


def test_retraining_searches_on_the_surrogate() -> None:
    rounds = played(RETRAIN)
    assert [part.kind for part in rounds] == ["seed", "augmented", "augmented", "augmented"]
    assert [len(part.sent) for part in rounds] == [30] * 4
    sent = 30
    for before, part in pairwise(rounds):
        near, far, rest = part.sent[:11], part.sent[11:22], part.sent[22:]
        assert (near - far).flatten(1).norm(dim=1).max() <= 0.05 * 1.001
        one, other = (predict(before.surrogate, ends).argmax(1) for ends in (near, far))
        assert (one != other).all()
        assert part.parents.tolist() == [-1] * 11 + list(range(sent, sent + 11)) + [-1] * 8
        assert torch.cdist(rest.flatten(1), rest.flatten(1)).fill_diagonal_(9).min() > 1
        sent += 30


def test_retraining_sends_ends_together_in_source_order() -> None:
    part = played(replace(RETRAIN, order="source"))[1]
    assert (part.sent[0:22:2] - part.sent[1:22:2]).flatten(1).norm(dim=1).max() <= 0.05 * 1.001
    assert part.parents[:22].tolist() == [place for at in range(30, 52, 2) for place in (-1, at)]


@pytest.mark.parametrize("attack", [SEARCH, RETRAIN], ids=["oracle", "local"])
def test_same_seed_same_queries(attack: Tramer) -> None:
    before = torch.get_rng_state()
    one, again, other = played(attack), run(attack), run(attack, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    for name in ("sent", "parents"):
        assert torch.equal(whole(one, name), whole(again, name))
    assert not torch.equal(whole(one, "sent"), whole(other, "sent"))


def thinned(images: Tensor, kind: Kind) -> Adapted:
    keep = torch.arange(len(images)) % 3 > (0 if kind == "augmented" else -1)
    return Adapted(keep, (images[keep] + 0.2))


@pytest.mark.parametrize("order", ["target", "source", "shuffled"])
@pytest.mark.parametrize("attack", [SEARCH, RETRAIN], ids=["oracle", "local"])
def test_dropped_queries_are_not_parents_and_the_budget_is_spent(attack: Tramer, order: Order) -> None:
    rounds = run(replace(attack, order=order), adapt=thinned)
    sent, crafted = whole(rounds, "sent"), whole(rounds, "crafted")
    assert torch.equal(whole(rounds, "labels"), victim(sent))
    assert torch.equal(sent, (crafted + 0.2).clamp(0, 1))
    parents = whole(rounds, "parents")
    children = (parents >= 0).nonzero()[:, 0]
    assert parents.max() < len(sent)
    if attack is RETRAIN:
        assert len(children) > 3
        apart = (crafted[children] - crafted[parents[children]]).flatten(1).norm(dim=1)
        assert apart.max() <= 0.05 * 1.001
    if order != "source" or attack is RETRAIN:  # a search told alone is ended at once
        assert len(sent) > 0.9 * attack.budget  # until a small last round is dropped whole


@pytest.mark.parametrize("attack", [SEARCH, RETRAIN], ids=["oracle", "local"])
def test_keeping_nothing_ends_it(attack: Tramer) -> None:
    def only(kind: str) -> Adaptation:
        def adapt(images: Tensor, told: Kind) -> Adapted:
            keep = torch.full((len(images),), told == kind)
            return Adapted(keep, images[keep])

        return adapt

    nothing = run(attack, adapt=only("none"))
    assert [len(part.sent) for part in nothing] == [0]
    seeds = run(attack, adapt=only("seed"))
    assert [len(part.sent) for part in seeds] == [30, 0]
