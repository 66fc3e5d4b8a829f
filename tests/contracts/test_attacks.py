"""What every attack promises, whatever it crafts."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import FrozenInstanceError, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from redhanded.errors import OutOfTimeError, RedhandedError
from redhanded.experiments.measure.journal import FileJournal
from redhanded.lab.attacks import exchange
from redhanded.lab.attacks.resume import FORGETFUL, Journal, Journaled
from redhanded.lab.models import build
from redhanded.lab.training import Training
from redhanded.lab.types import Adaptation, Adapted, Attack, Kind, Round, as_is

from .attacks_table import CLASSES, FINAL, ROWS, SURROGATE, Row, images

every_attack = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
crafting = pytest.mark.parametrize("row", [row for row in ROWS if row.augments], ids=lambda row: row.name)
choosing = pytest.mark.parametrize(
    "row", [row for row in ROWS if row.attack.starts_from == "pool"], ids=lambda row: row.name
)
inventing = pytest.mark.parametrize(
    "row", [row for row in ROWS if row.attack.starts_from == "nothing"], ids=lambda row: row.name
)
remembering = pytest.mark.parametrize(
    "row", [row for row in ROWS if isinstance(row.attack, Journaled)], ids=lambda row: row.name
)
training = pytest.mark.parametrize(
    "row",
    [row for row in ROWS if row.training is not None or row.name == "random"],
    ids=lambda row: row.name,
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass
class Watched:
    """A victim, and everything it was asked."""

    oracle: Callable[[Tensor], Tensor]
    asked: list[Tensor] = field(default_factory=list)

    def __call__(self, images: Tensor) -> Tensor:
        self.asked.append(images.clone())
        return self.oracle(images)

    @property
    def queries(self) -> int:
        return sum(map(len, self.asked))


def seeds_for(row: Row, budget: int | None = None) -> Tensor:
    """None, few where the attack crafts the rest, as many as the budget, or a pool of 40."""
    budget = row.attack.budget if budget is None else budget
    if row.attack.starts_from == "pool":
        return images(40)
    return images(next(count for count in (0, 6, budget) if row.enough(count, budget)))


def start(
    row: Row,
    seeds: Tensor,
    oracle: Callable[[Tensor], Tensor] | None = None,
    adapt: Adaptation = as_is,
    seed: int = 0,
    attack: Attack | None = None,
    journal: Journal = FORGETFUL,
) -> Iterator[Round]:
    generator = torch.Generator().manual_seed(seed)
    further: dict[str, Any] = {name: value[: len(seeds)] for name, value in row.further.items()}
    if journal is not FORGETFUL:
        further["journal"] = journal
    return (attack or row.attack).run(
        oracle or row.oracle,
        seeds,
        adapt=adapt,
        new_surrogate=lambda: build(SURROGATE, CLASSES, generator),
        generator=generator,
        **further,
    )


@cache
def played(row: Row, adapt: Adaptation = as_is) -> tuple[list[Round], Watched]:
    """The attack run to its end, once for all tests that only look at it."""
    oracle = Watched(row.oracle)
    return list(start(row, seeds_for(row), oracle, adapt)), oracle


def whole(rounds: list[Round], name: str) -> Tensor:
    return torch.cat([getattr(part, name) for part in rounds])


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def half(images: Tensor, kind: Kind) -> Adapted:
    """Filtering: every other row goes."""
    del kind
    keep = torch.arange(len(images)) % 2 == 0
    return Adapted(keep, images[keep])


def altered(images: Tensor, kind: Kind) -> Adapted:
    """Blinding, which leaves the range of images on both sides."""
    del kind
    shift = torch.linspace(-0.3, 0.3, images[0].numel()).view(images[0].shape)
    return Adapted(torch.ones(len(images), dtype=torch.bool), images + shift)


def both(images: Tensor, kind: Kind) -> Adapted:
    keep, kept = half(images, kind)
    return Adapted(keep, altered(kept, kind).sent)


def only_seeds(images: Tensor, kind: Kind) -> Adapted:
    keep = torch.full((len(images),), kind == "seed")
    return Adapted(keep, images[keep])


def nothing(images: Tensor, kind: Kind) -> Adapted:
    del kind
    return Adapted(torch.zeros(len(images), dtype=torch.bool), images[:0])


@every_attack
def test_is_a_frozen_value(row: Row) -> None:
    assert replace(row.attack) == row.attack
    assert hash(replace(row.attack)) == hash(row.attack)
    assert replace(row.attack, budget=32) != row.attack
    with pytest.raises(FrozenInstanceError):
        row.attack.budget = 1  # type: ignore[misc]


@every_attack
@settings(derandomize=True, deadline=None, max_examples=6)
@given(st.integers(1, 9), st.integers(1, 24))
def test_budget_is_spent_exactly_or_the_seeds_are_refused(row: Row, count: int, budget: int) -> None:
    oracle = Watched(row.oracle)
    seeds = images(0 if row.attack.starts_from == "nothing" else count)
    rounds = start(row, seeds, oracle, attack=replace(row.attack, budget=budget))
    if row.enough(len(seeds), budget):
        sizes = [len(part.sent) for part in rounds]
        assert sum(sizes) == oracle.queries <= budget
        assert oracle.queries == budget or not row.spends
        assert all(sizes[:-1])
        assert sizes[-1] or not row.spends
    else:
        with pytest.raises(RedhandedError, match=r"^budget: [^\n]+$"):
            next(rounds)
        assert oracle.queries == 0


@every_attack
@pytest.mark.parametrize("count", [0, 30, 32])
def test_seeds_that_do_not_fit_are_refused_in_one_line(row: Row, count: int) -> None:
    if row.attack.starts_from == "nothing" or row.enough(count, row.attack.budget):
        sent = sum(len(part.sent) for part in start(row, images(count)))
        assert sent == row.attack.budget or (not row.spends and count <= sent < row.attack.budget)
        return
    oracle = Watched(row.oracle)
    with pytest.raises(RedhandedError, match=rf"^budget: [^\n]*\b{count}\b[^\n]*; [^\n]+$"):
        next(start(row, images(count), oracle))
    assert oracle.queries == 0


@every_attack
@pytest.mark.parametrize("adapt", [as_is, half, altered, both], ids=lambda adapt: adapt.__name__)
def test_rounds_record_what_the_oracle_was_asked(row: Row, adapt: Adaptation) -> None:
    rounds, oracle = played(row, adapt)
    assert all(len(asked) for asked in oracle.asked)
    # each image once, in the order recorded
    assert torch.equal(torch.cat(oracle.asked), whole(rounds, "sent"))
    assert oracle.queries <= row.attack.budget
    if row.spends and (row.augments or adapt in (as_is, altered)):
        assert oracle.queries == row.attack.budget
    assert oracle.queries > row.attack.budget / 3 or not row.spends
    for part in rounds:
        assert ((part.sent >= 0) & (part.sent <= 1)).all()
        assert part.sent.dtype == torch.float32
        assert torch.equal(part.labels, row.oracle(part.sent))
        assert len({len(column) for column in part[:5]}) == 1


@every_attack
@pytest.mark.parametrize("adapt", [as_is, both], ids=lambda adapt: adapt.__name__)
def test_parents_come_earlier_and_targets_are_classes(row: Row, adapt: Adaptation) -> None:
    rounds, _ = played(row, adapt)
    sent = 0
    for part in rounds:
        own = torch.arange(sent, sent + len(part.sent))
        assert (part.parents >= -1).all()
        assert (part.parents < sent + len(part.sent)).all()
        assert (part.parents != own).all()
        if part.kind == "gradient":  # the base of a finite difference may follow its twin
            twins = part.parents[part.parents >= sent] - sent
            assert (part.parents[twins] == -1).all()
        else:
            assert (part.parents < own).all()
        sent += len(part.sent)


@crafting
@pytest.mark.parametrize("adapt", [as_is, both], ids=lambda adapt: adapt.__name__)
def test_what_is_augmented_stays_near_its_parent_and_is_aimed_elsewhere(row: Row, adapt: Adaptation) -> None:
    rounds, _ = played(row, adapt)
    crafted, answered = whole(rounds, "crafted"), whole(rounds, "labels").argmax(1)
    assert rounds[0].kind == "seed"
    assert (rounds[0].parents == -1).all()
    assert (rounds[0].targets == -1).all()
    assert len(rounds) > 1
    sent = len(rounds[0].sent)
    for part in rounds[1:]:
        assert part.kind == "augmented"
        assert (part.parents >= 0).all()
        assert (part.parents < sent).all()  # of an earlier round
        assert (part.targets != answered[part.parents]).all()
        pairs = list(zip(part.parents.tolist(), part.targets.tolist(), strict=True))
        assert len(set(pairs)) == len(pairs)
        change = (part.crafted - crafted[part.parents]).abs().flatten(1).amax(1)
        assert (change <= row.reach + 1e-6).all()
        assert not row.moves or (change > 0).all()
        sent += len(part.sent)


@choosing
@pytest.mark.parametrize("adapt", [as_is, half], ids=lambda adapt: adapt.__name__)
def test_what_is_chosen_is_of_the_pool_and_never_twice(row: Row, adapt: Adaptation) -> None:
    rounds, _ = played(row, adapt)
    offered = {image.numpy().tobytes() for image in seeds_for(row)}
    chosen = [image.numpy().tobytes() for image in whole(rounds, "crafted")]
    assert len(set(chosen)) == len(chosen)
    assert offered.issuperset(chosen)
    for part in rounds:
        assert part.kind == "pool"
        assert (part.parents == -1).all()
        assert (part.targets == -1).all()


@inventing
def test_what_is_invented_needs_no_natural_image(row: Row) -> None:
    rounds, _ = played(row)
    assert {part.kind for part in rounds} <= {"gradient", "student", "seed", "augmented"}
    assert whole(rounds, "sent").shape[1:] == seeds_for(row).shape[1:]


@every_attack
def test_same_seed_same_queries_another_seed_others(row: Row) -> None:
    seeds, before = seeds_for(row), torch.get_rng_state()
    one, _ = played(row)
    again, other = (list(start(row, seeds, seed=seed)) for seed in (0, 1))
    assert torch.equal(seeds, seeds_for(row))  # still what they were
    assert torch.equal(torch.get_rng_state(), before)  # nothing was drawn but from the generator
    for name in ("crafted", "sent", "labels", "parents", "targets"):
        assert torch.equal(whole(one, name), whole(again, name))
    assert same_weights(one[-1].surrogate, again[-1].surrogate)
    assert torch.equal(whole(one, "sent"), whole(other, "sent")) != row.drawn
    assert not same_weights(one[-1].surrogate, other[-1].surrogate)


class Trained(tuple[nn.Module, Tensor, Tensor, Training]):
    """What `train_classifier` was called with."""

    __slots__ = ()


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[Trained]:
    calls: list[Trained] = []
    real = exchange.train_classifier

    def watched(
        model: nn.Module, images: Tensor, labels: Tensor, config: Training, *rest: Any, **named: Any
    ) -> None:
        calls.append(Trained((model, images.clone(), labels.clone(), config)))
        real(model, images, labels, config, *rest, **named)

    monkeypatch.setattr(exchange, "train_classifier", watched)
    return calls


@training
@pytest.mark.parametrize("adapt", [as_is, both], ids=lambda adapt: adapt.__name__)
def test_trains_on_everything_crafted_with_the_labels_of_what_was_sent(
    row: Row, adapt: Adaptation, trainings: list[Trained]
) -> None:
    rounds = list(start(row, seeds_for(row), adapt=adapt))
    assert len(trainings) == len(rounds)
    for count, (part, (model, trained_on, labels, _)) in enumerate(zip(rounds, trainings, strict=True), 1):
        assert model is part.surrogate
        assert not model.training
        assert torch.equal(trained_on, whole(rounds[:count], "crafted"))
        assert torch.equal(labels, whole(rounds[:count], "labels"))
    if adapt is both:
        assert not torch.equal(whole(rounds, "crafted"), whole(rounds, "sent"))
        assert torch.equal(rounds[0].crafted, seeds_for(row)[::2])
    # the last one alone has the final training
    assert [config for *_, config in trainings] == [row.training] * (len(rounds) - 1) + [FINAL]
    assert len({id(model) for model, *_ in trainings}) == len(rounds)  # each one fresh


@remembering
def test_goes_on_after_any_long_step(row: Row, tmp_path: Path) -> None:
    """However often it is cut short, its queries and its clone are those of an attack that was not."""
    expected, _ = played(row)
    rounds: list[Round] = []
    tries = 0
    while not rounds:
        tries += 1
        with suppress(OutOfTimeError):  # the time is always up: a try takes one step, or a training's step
            rounds = list(start(row, seeds_for(row), journal=FileJournal(tmp_path, "here", 0.0)))
    assert tries > 2
    for name in ("crafted", "sent", "labels", "parents", "targets"):
        assert torch.equal(whole(rounds, name), whole(expected, name))
    assert same_weights(rounds[-1].surrogate, expected[-1].surrogate)


@every_attack
def test_breaking_off_sends_nothing_more(row: Row) -> None:
    for stop in itertools.count(1):
        oracle = Watched(row.oracle)
        attack = start(row, seeds_for(row), oracle)
        taken = list(itertools.islice(attack, stop))
        assert oracle.queries == sum(len(part.sent) for part in taken)  # nothing was sent ahead
        attack.close()  # type: ignore[attr-defined]
        assert oracle.queries == sum(len(part.sent) for part in taken)
        if len(taken) < stop or oracle.queries == row.attack.budget:
            break
    assert oracle.queries > row.attack.budget / 3 or not row.spends


@crafting
def test_keeping_no_augmented_query_ends_the_attack(row: Row, trainings: list[Trained]) -> None:
    oracle, seeds = Watched(row.oracle), seeds_for(row)
    rounds = list(start(row, seeds, oracle, only_seeds))
    assert oracle.queries == len(seeds)
    assert [len(part.sent) for part in rounds] == [len(seeds), 0]
    assert whole(rounds, "labels").shape == (len(seeds), CLASSES)
    assert trainings[-1][3] == FINAL
    assert len(trainings[-1][1]) == len(seeds)


@every_attack
def test_keeping_nothing_at_all_asks_nothing(row: Row) -> None:
    oracle = Watched(row.oracle)
    rounds = list(start(row, seeds_for(row), oracle, nothing))
    assert oracle.asked == []
    assert sum(len(part.sent) for part in rounds) == 0
    assert len(rounds) > 0
    values = rounds[-1].surrogate.state_dict().values()
    assert all(value.isfinite().all() for value in values)


@every_attack
def test_the_adaptation_is_told_the_kind_and_sees_what_was_crafted(row: Row) -> None:
    told: list[tuple[Kind, Tensor]] = []

    def listening(images: Tensor, kind: Kind) -> Adapted:
        told.append((kind, images.clone()))
        return as_is(images, kind)

    rounds = list(start(row, seeds_for(row), adapt=listening))
    assert {kind for kind, seen in told if len(seen)} == {part.kind for part in rounds if len(part.crafted)}
    assert torch.equal(whole(rounds, "crafted"), torch.cat([seen for _, seen in told]))
