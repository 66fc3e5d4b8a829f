"""ActiveThief: its measures against literal ones, its schedule, and what it may never do."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy as scipy_entropy
from torch import Tensor, nn

from redhanded.errors import RedhandedError
from redhanded.lab.attacks import exchange, selection
from redhanded.lab.attacks.active import ActiveThief
from redhanded.lab.attacks.deepfool import deepfool
from redhanded.lab.attacks.selection import (
    Dfal,
    Strategy,
    entropy,
    highest,
    k_center,
    probabilities,
)
from redhanded.lab.models import ConvNet, build
from redhanded.lab.training import Training
from redhanded.lab.types import Adaptation, Adapted, Kind, Round, as_is

CLASSES = 5
SURROGATE = ConvNet(((4,), (6,)))
BRIEF = Training(epochs=1, batch=16, lr=0.05)
FINAL = Training(epochs=2, batch=16, lr=0.05)
STRATEGIES: tuple[Strategy, ...] = ("random", "uncertainty", "k-center", "dfal", "dfal+k-center")
every_strategy = pytest.mark.parametrize("strategy", STRATEGIES)


def simplex(rows: int, seed: int, columns: int = 4) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)).mul(2).softmax(1)


def brute_force(candidates: Tensor, centres: Tensor, count: int) -> list[int]:
    """Greedy K-center by the whole matrix of distances."""
    everything = torch.cat([candidates, centres]).double().numpy()
    matrix = np.linalg.norm(everything[:, None] - everything[None], axis=2)
    covered = list(range(len(candidates), len(everything)))
    picks: list[int] = []
    for _ in range(min(count, len(candidates))):
        free = [row for row in range(len(candidates)) if row not in picks]
        reach = [matrix[row, covered].min(initial=np.inf) for row in free]
        picks.append(free[int(np.argmax(reach))])
        covered.append(picks[-1])
    return picks


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(0, 20), st.integers(0, 45), st.integers(0, 10_000))
def test_k_center_is_greedy(candidates: int, centres: int, count: int, seed: int) -> None:
    rows, known = simplex(candidates, seed), simplex(centres, seed + 1)
    assert k_center(rows, known, count).tolist() == brute_force(rows, known, count)


def test_k_center_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, known = simplex(100, 0), simplex(50, 1)
    monkeypatch.setattr(selection, "BLOCK", 7)
    assert k_center(rows, known, 30).tolist() == brute_force(rows, known, 30)


def test_k_center_takes_the_first_of_equals_and_nothing_twice() -> None:
    corners = torch.eye(3)[torch.tensor([0, 1, 1, 2, 0])]
    assert k_center(corners, torch.eye(3)[:1], 5).tolist() == [1, 3, 0, 2, 4]
    assert k_center(torch.ones(4, 3), torch.ones(2, 3), 4).tolist() == [0, 1, 2, 3]


def test_k_center_on_a_large_pool_holds_no_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    largest = 0
    real = selection._distances

    def watched(one: Tensor, other: Tensor) -> Tensor:
        nonlocal largest
        found = real(one, other)
        largest = max(largest, found.numel())
        return found

    monkeypatch.setattr(selection, "_distances", watched)
    rows, known = simplex(50_000, 0, 10), simplex(1_500, 1, 10)
    picks = k_center(rows, known, 10)
    assert len(set(picks.tolist())) == 10
    assert 0 < largest <= 1024**2  # 2.5 billion would be a matrix
    # the last pick lies farther from all others than whatever was not taken lies from its nearest
    centres = torch.cat([known, rows[picks[:-1]]])
    assert float((rows[picks[-1]] - centres).norm(dim=1).min()) == pytest.approx(
        max(float(torch.cdist(part, centres).amin(1).max()) for part in rows.split(5_000)), abs=1e-3
    )


def test_entropy_is_scipys() -> None:
    rows = torch.cat([simplex(50, 0), torch.eye(4), torch.full((1, 4), 0.25)])
    np.testing.assert_allclose(entropy(rows).numpy(), scipy_entropy(rows.numpy(), axis=1), atol=1e-6)
    assert entropy(rows)[-1].item() == pytest.approx(np.log(4))


def test_highest_keeps_the_order_of_equals() -> None:
    scores = torch.tensor([1.0, 3.0, 2.0, 3.0, 1.0])
    assert highest(scores, 4).tolist() == [1, 3, 2, 0]
    assert highest(-scores, 3).tolist() == [0, 4, 2]
    assert highest(scores, 9).tolist() == [1, 3, 2, 0, 4]


@pytest.fixture
def surrogate(generator: torch.Generator) -> nn.Module:
    return build(SURROGATE, CLASSES, generator).eval()


def images(count: int, seed: int = 0) -> Tensor:
    """Images that differ in their last digit at least."""
    pixels = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return (pixels * 1.2 - 0.1).clamp(0, 1)


def victim(images: Tensor) -> Tensor:
    weights = torch.randn(3 * 8 * 8, CLASSES, generator=torch.Generator().manual_seed(99))
    return torch.eye(CLASSES)[((images - 0.5).flatten(1) @ weights).argmax(1)]


def test_probabilities_of_some_rows(surrogate: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    pool, rows = images(30), torch.tensor([3, 1, 29, 7, 8])
    monkeypatch.setattr(selection, "BLOCK", 1)
    found = probabilities(surrogate, pool, rows)
    torch.testing.assert_close(found, surrogate(pool[rows]).softmax(1))
    torch.testing.assert_close(found, probabilities(surrogate, pool)[rows])


def test_dfal_measures_deepfools_way(surrogate: nn.Module) -> None:
    assert Dfal() == Dfal(20, 0.01, 10, 10_000)
    pool, rows = images(30), torch.tensor([3, 1, 29, 7, 8])
    one = Dfal(4, 0.01, 3, batch=2)(surrogate, pool, rows)
    expected = deepfool(surrogate, pool[rows], 4, 0.01, 3, stop_early=False)
    torch.testing.assert_close(one, (expected.images - pool[rows]).square().sum((1, 2, 3)))
    assert len(set(one.tolist())) == 5


def attack(strategy: Strategy, budget: int = 40, **fields: object) -> ActiveThief:
    small = ActiveThief(strategy, budget, round_training=BRIEF, final_training=FINAL, dfal=Dfal(steps=2))
    return replace(small, **fields)  # type: ignore[arg-type]


def chosen(thief: ActiveThief, surrogate: nn.Module, rows: Tensor, count: int) -> list[int]:
    generator = torch.Generator().manual_seed(5)
    transfer = exchange.Transfer(surrogate, as_is, 6, lambda: surrogate, generator)
    transfer.seed(images(6, 1))
    return thief._choose(transfer, surrogate, images(60), rows, count)["rows"].tolist()


ROWS = torch.arange(2, 60, 2)


def test_strategies_choose_what_they_say(surrogate: nn.Module) -> None:
    pool = images(60)
    candidates = surrogate(pool[ROWS]).softmax(1)
    by_entropy = sorted(range(29), key=lambda place: -scipy_entropy(candidates[place].detach().numpy()))
    assert chosen(attack("uncertainty"), surrogate, ROWS, 5) == ROWS[by_entropy[:5]].tolist()

    centres = surrogate(images(6, 1)).softmax(1)
    covering = brute_force(candidates.detach(), centres.detach(), 5)
    assert chosen(attack("k-center"), surrogate, ROWS, 5) == ROWS[covering].tolist()

    norms = deepfool(surrogate, pool[ROWS], 2, 0.01, stop_early=False).squared_l2
    by_norm = ROWS[norms.argsort()]
    assert chosen(attack("dfal"), surrogate, ROWS, 5) == by_norm[:5].tolist()

    both = attack("dfal+k-center", shortlist=10)
    few = surrogate(pool[by_norm[:10]]).softmax(1)
    covering = brute_force(few.detach(), centres.detach(), 5)
    assert chosen(both, surrogate, ROWS, 5) == by_norm[covering].tolist()
    # the shortlist is the budget unless told otherwise, and never shorter than what is asked for
    assert chosen(attack("dfal+k-center", budget=10), surrogate, ROWS, 5) == by_norm[covering].tolist()
    assert sorted(chosen(replace(both, shortlist=1), surrogate, ROWS, 5)) == sorted(by_norm[:5].tolist())


def test_dfal_looks_at_a_random_part_of_a_large_pool(surrogate: nn.Module) -> None:
    seen: list[int] = []

    class Watched(Dfal):
        def __call__(self, surrogate: nn.Module, images: Tensor, rows: Tensor) -> Tensor:
            seen.extend(rows.tolist())
            return super().__call__(surrogate, images, rows)

    few = attack("dfal", dfal=Watched(steps=1, pool=8))
    picked = chosen(few, surrogate, ROWS, 3)
    assert len(seen) == len(set(seen)) == 8
    assert seen == sorted(seen)
    assert set(picked) < set(seen) < set(ROWS.tolist())
    assert max(seen) > 40  # not its beginning
    seen.clear()
    assert len(chosen(few, surrogate, ROWS, 12)) == 12  # at least what is asked for
    assert len(seen) == 12


@every_strategy
def test_choices_are_rows_each_once(surrogate: nn.Module, strategy: Strategy) -> None:
    for count in (1, 28, 29, 40):
        found = chosen(attack(strategy), surrogate, ROWS, count)
        assert len(found) == len(set(found)) == min(count, 29)
        assert set(found) <= set(ROWS.tolist())


def run(
    thief: ActiveThief, pool: Tensor, adapt: Adaptation = as_is, asked: list[Tensor] | None = None
) -> list[Round]:
    generator = torch.Generator().manual_seed(0)

    def oracle(images: Tensor) -> Tensor:
        if asked is not None:
            asked.append(images)
        return victim(images)

    return list(
        thief.run(
            oracle,
            pool,
            adapt=adapt,
            new_surrogate=lambda: build(SURROGATE, CLASSES, generator),
            generator=generator,
        )
    )


def places(pool: Tensor, sent: Tensor) -> list[int]:
    """Return where in the pool each image lies."""
    return [int((pool == image).flatten(1).all(1).nonzero()[0, 0]) for image in sent]


@every_strategy
def test_budget_is_spent_exactly_on_different_images_of_the_pool(strategy: Strategy) -> None:
    pool, asked = images(70), []
    rounds = run(attack(strategy), pool, asked=asked)
    sent = torch.cat([part.sent for part in rounds])
    assert torch.equal(torch.cat(asked), sent)
    assert len(sent) == len(set(places(pool, sent))) == 40
    # 4 seeds and 8 validation queries at once, then 28 in ten rounds
    assert [len(part.sent) for part in rounds] == [12, 3, 3, 3, 3, 3, 3, 3, 3, 2, 2]
    for part in rounds:
        assert part.kind == "pool"
        assert (part.parents == -1).all()
        assert (part.targets == -1).all()
        assert torch.equal(part.labels, victim(part.sent))
    assert len({id(part.surrogate) for part in rounds}) == len(rounds)


@settings(derandomize=True, deadline=None, max_examples=12)
@given(st.integers(1, 30), st.integers(0, 9), st.integers(1, 12))
def test_any_budget_and_any_number_of_rounds(budget: int, spare: int, number: int) -> None:
    rounds = run(attack("uncertainty", budget, rounds=number), images(budget + spare))
    sizes = [len(part.sent) for part in rounds]
    assert sum(sizes) == budget
    assert all(sizes)
    assert len(rounds) <= number + 1
    assert max(sizes[1:], default=0) - min(sizes[1:], default=0) <= 1


def test_the_last_surrogate_has_the_final_training(monkeypatch: pytest.MonkeyPatch) -> None:
    trainings: list[tuple[int, Training]] = []

    class Watched(exchange.Transfer):
        def train(self, training: Training, start: nn.Module | None = None) -> nn.Module:
            trainings.append((len(self), training))
            return super().train(training, start)

    monkeypatch.setattr(exchange, "Transfer", Watched)
    run(attack("random", rounds=2), images(50))
    assert trainings == [(12, BRIEF), (26, BRIEF), (40, FINAL)]


def test_the_papers_settings_are_the_defaults() -> None:
    thief = ActiveThief("k-center")
    assert (thief.budget, thief.rounds, thief.seed_share, thief.validation_share) == (50_000, 10, 0.1, 0.2)
    assert thief._first() == 15_000
    assert thief.round_training == thief.final_training
    assert (thief.final_training.optimiser, thief.final_training.batch) == ("adam", 50)


def test_order_shuffles_a_round_but_not_what_is_in_it() -> None:
    pool = images(60)
    one, other = (run(attack("random", order=order), pool)[0] for order in ("source", "shuffled"))
    assert sorted(places(pool, one.sent)) == sorted(places(pool, other.sent))
    assert places(pool, one.sent) != places(pool, other.sent)


def test_what_filtering_drops_is_made_up_for_and_not_offered_again() -> None:
    offered: list[Tensor] = []

    def half(images: Tensor, kind: Kind) -> Adapted:
        assert kind == "pool"
        offered.append(images)
        keep = torch.arange(len(images)) % 2 == 0
        return Adapted(keep, images[keep])

    pool = images(120)
    rounds = run(attack("uncertainty"), pool, half)
    seen = places(pool, torch.cat(offered))
    assert len(seen) == len(set(seen))
    assert sum(len(part.sent) for part in rounds) == 40
    # a pool that cannot give the budget is used up
    pool = images(50)
    rounds = run(attack("uncertainty"), pool, half)
    assert sum(len(part.sent) for part in rounds) < 40
    assert all(len(part.sent) for part in rounds)


def test_keeping_nothing_of_a_round_ends_the_attack() -> None:
    told = []

    def only_first(images: Tensor, kind: Kind) -> Adapted:
        told.append(kind)
        keep = torch.full((len(images),), len(told) == 1)
        return Adapted(keep, images[keep])

    rounds = run(attack("k-center"), images(60), only_first)
    assert [len(part.sent) for part in rounds] == [12, 0]


@pytest.mark.parametrize("count", [0, 39])
def test_a_pool_below_the_budget_is_refused(count: int) -> None:
    asked: list[Tensor] = []
    with pytest.raises(RedhandedError, match=rf"^budget: [^\n]*\b{count}\b[^\n]*; [^\n]+$"):
        run(attack("random"), images(count), asked=asked)
    assert asked == []
