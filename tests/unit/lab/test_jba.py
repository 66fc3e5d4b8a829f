"""Algorithm 1: its schedule, its sources and its targets."""

from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from redhanded.errors import RedhandedError
from redhanded.lab.attacks import (
    Jba,
    LinfPgd,
    LogitAscent,
    SignedSteps,
    jb_self,
    jb_top3,
    jba_pgd,
    jbda,
    prada,
)
from redhanded.lab.attacks import jba as module
from redhanded.lab.attacks.exchange import Transfer
from redhanded.lab.attacks.jba import FINAL_TRAINING, ROUND_TRAINING, Plan, top_targets
from redhanded.lab.attacks.perturb import Aim, Crafted
from redhanded.lab.models import CIFAR10_STD, ConvNet, build
from redhanded.lab.training import Training
from redhanded.lab.types import Adaptation, Adapted, Images, Round, as_is

CLASSES = 5
BRIEF = Training(epochs=1, batch=64, lr=0.05)
PAPER = jb_top3()


def sizes(attack: Jba, seeds: int) -> list[int]:
    """Queries of each round after the seeds, by the attack's own choice of sources."""
    generator = torch.Generator().manual_seed(0)
    sent, rounds = seeds, []
    while sent < attack.budget:
        left = attack.budget - sent
        fitting = -(-left // attack.targets_per_source)
        sources = attack._sources(sent, fitting, 0, generator)[:fitting]
        rounds.append(min(len(sources) * attack.targets_per_source, left))
        sent += rounds[-1]
    return rounds


def test_the_papers_settings_are_the_defaults() -> None:
    assert Jba(LogitAscent(8, 0.01, 0.1, (0.2023, 0.1994, 0.2010), "corrected"), 50_000, "source") == PAPER
    assert Jba(LinfPgd(8 / 256, 40, 1 / 30), 50_000, "batch64") == jba_pgd()
    assert replace(FINAL_TRAINING, epochs=20) == ROUND_TRAINING
    assert Training(100, 64, "sgd", 0.01, 0.9, False, 5e-4, "step", 30, 0.1, False) == FINAL_TRAINING
    assert (PAPER.targets_per_source, PAPER.reservoir, PAPER.truncation) == (3, None, "prefix")
    assert (PAPER.round_training, PAPER.final_training) == (ROUND_TRAINING, FINAL_TRAINING)


def test_schedule_of_the_paper() -> None:
    assert sizes(PAPER, 500) == [1_500, 6_000, 24_000, 18_000]
    assert sizes(PAPER, 5_000) == [15_000, 30_000]
    reservoir = sizes(replace(PAPER, reservoir=400), 5_000)
    assert reservoir == [1_200] * 37 + [600]  # 38 rounds


def test_prefix_truncation_keeps_the_seeds_and_the_first_rows(generator: torch.Generator) -> None:
    sources = PAPER._sources(20_000, 10_000, 0, generator)
    assert torch.equal(sources, torch.arange(20_000))  # the first 5,000 synthetic rows follow 5,000 seeds


def test_random_truncation_draws_without_replacement(generator: torch.Generator) -> None:
    attack = replace(PAPER, truncation="random")
    sources = attack._sources(1_000, 100, 0, generator)[:100]
    assert len(set(sources.tolist())) == 100
    assert 350 < sources.float().mean() < 650  # of the whole, not of its beginning
    assert torch.equal(attack._sources(100, 100, 0, generator), torch.arange(100))  # all fit: nothing to draw


def test_reservoir_draws_without_replacement_and_anew(generator: torch.Generator) -> None:
    attack = replace(PAPER, reservoir=40)
    one, other = (attack._sources(1_000, 5_000, 0, generator) for _ in range(2))
    assert len(set(one.tolist())) == len(set(other.tolist())) == 40
    assert set(one.tolist()) != set(other.tolist())
    assert max(one.tolist()) > 500
    assert torch.equal(attack._sources(30, 5_000, 0, generator), torch.arange(30))


def run(attack: Jba, seeds: int, seed: int = 0, adapt: Adaptation = as_is) -> list[Round]:
    generator = torch.Generator().manual_seed(seed)
    projection = torch.randn(3 * 8 * 8, CLASSES, generator=torch.Generator().manual_seed(9))
    return list(
        attack.run(
            lambda images: torch.eye(CLASSES)[((images - 0.5).flatten(1) @ projection).argmax(1)],
            torch.rand(seeds, 3, 8, 8, generator=generator),
            adapt=adapt,
            new_surrogate=lambda: build(ConvNet(((4,), (6,))), CLASSES, generator),
            generator=generator,
        )
    )


def test_a_scaled_down_run_keeps_the_schedule() -> None:
    rounds = run(jb_top3(500, round_training=BRIEF, final_training=BRIEF), 5)
    assert [len(part.sent) for part in rounds] == [5, 15, 60, 240, 180]
    for part, sources in zip(rounds[1:], (5, 20, 80, 60), strict=True):
        # all three variants of a source together, seeds first
        assert part.parents.tolist() == [source for source in range(sources) for _ in range(3)]
        assert all(len(set(three)) == 3 for three in part.targets.view(-1, 3).tolist())


@pytest.mark.parametrize("order", ["batch64", "target"])
def test_orders_send_the_likeliest_targets_first(order: module.Order) -> None:
    attack = jb_top3(60, order=order, round_training=BRIEF, final_training=BRIEF)
    straight = run(replace(attack, order="source"), 15)
    other = run(attack, 15)
    assert other[1].parents.tolist() == list(range(15)) * 3
    # the first round's variants are the same ones, transposed
    assert torch.equal(other[1].targets.view(3, 15).T, straight[1].targets.view(15, 3))
    torch.testing.assert_close(
        other[1].sent.unflatten(0, (3, 15)).transpose(0, 1), straight[1].sent.unflatten(0, (15, 3))
    )


def test_fewer_classes_than_targets_do_not_leave_budget_for_another_round() -> None:
    rounds = run(replace(jb_top3(23, round_training=BRIEF, final_training=BRIEF), targets_per_source=9), 7)
    assert rounds[-1].parents.tolist() == [source for source in range(4) for _ in range(CLASSES - 1)]


def test_nothing_crafted_ends_the_attack() -> None:
    @dataclass(frozen=True)
    class Never:
        def __call__(self, surrogate: nn.Module, aim: Aim, generator: torch.Generator) -> Crafted:
            del surrogate, generator
            none = torch.zeros(len(aim.sources), dtype=torch.bool)
            return Crafted(aim.sources, ~none, none)

    rounds = run(Jba(Never(), 50, round_training=BRIEF, final_training=BRIEF), 6)
    assert [len(part.sent) for part in rounds] == [6, 0]
    assert rounds[-1].failures == 18


def test_the_last_source_may_be_cut_short() -> None:
    rounds = run(jb_top3(12, round_training=BRIEF, final_training=BRIEF), 5)
    assert rounds[-1].parents.tolist() == [0, 0, 0, 1, 1, 1, 2]


@settings(derandomize=True, deadline=None, max_examples=25)
@given(st.integers(0, 12), st.integers(2, 6), st.integers(1, 7), st.integers(0, 99))
def test_top_targets_against_a_loop(rows: int, classes: int, count: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, classes, generator=generator)
    labels = torch.rand(rows, classes, generator=generator)
    expected = []
    for row in range(rows):
        own = max(range(classes), key=lambda label: labels[row, label])
        ranked = sorted(range(classes), key=lambda label: -logits[row, label])
        expected.append([label for label in ranked if label != own][:count])
    assert top_targets(logits, labels, count).tolist() == expected


def test_a_query_does_not_depend_on_what_is_crafted_with_it(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        surrogate = nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.Tanh(), nn.Linear(16, CLASSES))
    surrogate = surrogate.double()  # no sign is a toss-up
    images = torch.rand(9, 3, 8, 8, generator=generator, dtype=torch.float64)

    def oracle(asked: Tensor) -> Tensor:
        return torch.eye(CLASSES)[torch.arange(len(asked)) % CLASSES]

    transfer = Transfer(oracle, as_is, 100, lambda: surrogate, generator)
    transfer.seed(images)
    plan = Plan(torch.tensor([0, 0, 3, 8, 8, 1, 7]), torch.tensor([1, 2, 0, 4, 3, 3, 1]))

    def craft() -> Tensor:
        return PAPER._craft(surrogate, transfer, plan, 0).images

    together = craft()
    monkeypatch.setattr(module, "CRAFT_BATCH", 2)
    torch.testing.assert_close(craft(), together, rtol=0, atol=1e-12)
    assert ((together - images[plan.parents]).flatten(1).abs().amax(1) > 0).all()


@dataclass(frozen=True)
class Picky:
    """Fails for odd targets; leaves out what failed, or keeps it."""

    keeps: bool

    def __call__(self, surrogate: nn.Module, aim: Aim, generator: torch.Generator) -> Crafted:
        failed = aim.targets % 2 == 1
        return Crafted((aim.sources + 0.01).clamp(0, 1), failed, ~failed | self.keeps)


def test_further_sources_make_up_for_what_could_not_be_crafted() -> None:
    attack = Jba(Picky(False), 200, round_training=BRIEF, final_training=BRIEF)
    rounds = run(attack, 60)
    sent = [len(part.sent) for part in rounds]
    assert sum(sent) == 200
    assert sent[-1] > 20  # with the fitting sources alone it would go on by ever smaller steps
    for part in rounds[1:]:
        assert part.parents.tolist() == sorted(part.parents.tolist())


def test_further_sources_make_up_for_what_was_dropped() -> None:
    """A thief who filters spends its budget in a few rounds; without a filter nothing changes."""

    def one_in_four(images: Images, kind: str) -> Adapted:
        keep = torch.ones(len(images), dtype=torch.bool)
        if kind == "augmented":
            keep = torch.arange(len(images)) % 4 == 0
        return Adapted(keep, images[keep])

    attack = jba_pgd(100, round_training=BRIEF, final_training=BRIEF)
    plain, filtered = run(attack, 40), run(attack, 40, adapt=one_in_four)
    assert [len(part.sent) for part in plain] == [40, 60]
    # 60 crafted of the first 20 sources leave 15, 45 of the next 20 leave 12 (a part is cut to what is left)
    assert len(filtered[1].sent) == 15 + 12
    assert sum(len(part.sent) for part in filtered) == 100
    for part in filtered:
        assert len(part.sent) == len(part.labels) == len(part.parents) == len(part.targets)
    first = filtered[1]
    assert (first.parents < 40).all()
    assert len(set(zip(first.parents.tolist(), first.targets.tolist(), strict=True))) == len(first.sent)


def test_what_fails_is_counted_and_sent_only_if_its_maker_says_so() -> None:
    fields = {"budget": 60, "round_training": BRIEF, "final_training": BRIEF}
    kept, left_out = (run(Jba(Picky(keeps), **fields), 10) for keeps in (True, False))  # type: ignore[arg-type]
    assert sum(len(part.sent) for part in kept) == 60
    assert sum(len(part.sent) for part in left_out) == 60
    for part in kept[1:]:
        assert part.failures == int((part.targets % 2).sum()) > 0
    assert left_out[1].failures > 0
    assert all((part.targets[part.targets >= 0] % 2 == 0).all() for part in left_out)


def test_papernots_augmentation_turns_around_trains_on_and_draws_a_reservoir() -> None:
    attack = replace(jbda(2_000, round_training=BRIEF, final_training=BRIEF), reservoir=30)
    rounds = run(attack, 10)
    # doubling for three rounds, then 30 of them; the last is cut to the budget
    sizes = [len(part.sent) for part in rounds]
    assert sizes[:6] == [10, 10, 20, 40, 30, 30]
    assert sum(sizes) == 2_000
    assert all((part.targets == -1).all() for part in rounds)
    crafted = torch.cat([part.crafted for part in rounds])
    assert (crafted[rounds[1].parents] == rounds[0].crafted).all()
    # a warm surrogate begins where the last one ended: nothing but training moves it
    still = replace(attack, round_training=replace(BRIEF, lr=0.0, weight_decay=0.0), final_training=BRIEF)
    one, other, *_ = run(replace(still, budget=50), 10)
    for name, value in one.surrogate.named_parameters():
        assert torch.equal(value, dict(other.surrogate.named_parameters())[name])
    cold, other, *_ = run(replace(still, budget=50, warm=False), 10)
    assert not all(
        torch.equal(a, b)
        for a, b in zip(cold.surrogate.parameters(), other.surrogate.parameters(), strict=True)
    )
    with pytest.raises(RedhandedError, match="flip_every"):
        replace(attack, perturbation=LinfPgd())


def test_random_targets_are_other_classes_and_all_of_them() -> None:
    attack = prada(SignedSteps(), "random", 400, round_training=BRIEF, final_training=BRIEF)
    rounds = run(attack, 100)
    answered = torch.cat([part.labels for part in rounds]).argmax(1)
    targets = torch.cat([part.targets for part in rounds[1:]])
    parents = torch.cat([part.parents for part in rounds[1:]])
    assert [len(part.sent) for part in rounds] == [100, 100, 200]
    assert (targets != answered[parents]).all()
    assert set(targets.tolist()) == set(range(CLASSES))


def test_jb_self_steps_away_from_the_oracles_label() -> None:
    rounds = run(jb_self(30, round_training=BRIEF, final_training=BRIEF), 10)
    change = (rounds[1].crafted - rounds[0].crafted).abs().flatten(2).amax((0, 2))
    torch.testing.assert_close(change, 0.1 * torch.tensor(CIFAR10_STD))
    assert (rounds[1].targets == -1).all()
