"""Query filtering: what the thief's substitute drops, and that it is dropped for good."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from redhanded.detectors import (
    BlacklightDetector,
    HodaDetector,
    LikelihoodDetector,
    OutlierDetector,
    PradaDetector,
    SimilarityDetector,
    StatefulDetector,
)
from redhanded.errors import RedhandedError
from redhanded.lab.adaptive import filtering
from redhanded.lab.adaptive.filtering import Filtering, QueryFilter, chain
from redhanded.lab.attacks import Jba
from redhanded.lab.attacks.perturb import Aim, Crafted
from redhanded.lab.models import ConvNet, build
from redhanded.lab.oracles.victim import Budgeted
from redhanded.lab.training import Training
from redhanded.lab.types import Adapted, Images, Kind, Outputs
from redhanded.types import FeatureArray, ImageArray, OutputArray

DETERMINISTIC = settings(derandomize=True, deadline=None, max_examples=40)
BRIEF = Training(epochs=1, batch=16)


@dataclass(frozen=True)
class Corner:
    """The first pixel is the feature."""

    digest = "corner"

    def __call__(self, images: ImageArray) -> FeatureArray:
        return np.ascontiguousarray(images[:, 0, 0, :1])


@dataclass(frozen=True)
class Steps:
    """The first pixel as a degree of hardness from 0 to 2."""

    digest = "steps"

    def __call__(self, images: ImageArray) -> FeatureArray:
        return np.rint(images[:, 0, 0, :1] * 2).astype(np.float32)


def tenths(*values: int, side: int = 4) -> Tensor:
    """Flat grey images of so many tenths."""
    return (torch.tensor(values, dtype=torch.float32) / 10).view(-1, 1, 1, 1).expand(-1, 3, side, side)


def thirds(images: ImageArray) -> OutputArray:
    return np.eye(3, dtype=np.float32)[np.minimum(images[:, 0, 0, 0] * 3, 2).astype(np.int64)]


def kept(adapted: Adapted) -> list[bool]:
    return adapted.keep.tolist()


NEAR = SimilarityDetector(Corner(), 0.15)
"""A tenth apart is near, two are not."""
SHAPE = (3, 4, 4)
OTHERS: list[Any] = [
    SimilarityDetector(Corner(), 0.15, "pairs", flags_to_ban=1, capacity=3, axes=np.ones((1, 1))),
    StatefulDetector(Corner(), 0.12, neighbours=2, flags_to_ban=3, capacity=5),
    LikelihoodDetector(Corner(), 0.5, -0.5, warmup=3, capacity=7),
    OutlierDetector(Corner(), 0.35, flags_to_ban=2),
    HodaDetector(Steps(), np.array([0.2, 0.5, 0.3]), 0.5, window=3),
    BlacklightDetector(0.5, SHAPE, window=3, hashes=6, quantisation=20),
    PradaDetector(0.95, SHAPE, every=2, least_per_class=2, least=2),
]


def test_a_known_substitute_drops_exactly_these() -> None:
    thief = QueryFilter(NEAR)
    # 2 is near 1; 3 is near 2 alone, which was dropped, so it passes; 4 is near 3
    one = thief(tenths(1, 2, 3, 4, 9), "augmented")
    assert kept(one) == [True, False, True, False, True]
    assert torch.equal(one.sent, tenths(1, 3, 9))
    assert kept(thief(tenths(9, 6, 1, 6), "augmented")) == [False, True, False, False]
    assert (thief.passed, thief.dropped, thief.held) == (4, 5, 4)
    assert kept(thief(tenths(1, 3), "augmented")) == [False, False]  # a whole round
    assert len(thief(tenths(1), "augmented").sent) == 0
    assert len(thief(tenths(1)[:0], "augmented").keep) == 0


def test_only_some_kinds_are_filtered_and_remembered() -> None:
    for everywhere in (False, True):
        thief = QueryFilter(NEAR, Filtering(everywhere=everywhere))
        assert kept(thief(tenths(5, 5), "seed")) == [True, True]
        assert kept(thief(tenths(1, 1), "gradient")) == [True, not everywhere]
        assert kept(thief(tenths(1, 5), "student")) == [not everywhere, True]
        assert kept(thief(tenths(5, 8), "pool")) == [False, True]
        assert kept(thief(tenths(8), "augmented")) == [False]


@pytest.mark.parametrize("seeds", [False, True])
def test_seeds_in_the_history_or_not(seeds: bool) -> None:
    thief = QueryFilter(SimilarityDetector(Corner(), 0.15, flags_to_ban=2), Filtering(seeds_in_history=seeds))
    assert kept(thief(tenths(5, 5, 5, 5, 8), "seed")) == [True] * 5  # more flags than the quota bears
    assert kept(thief(tenths(5, 1, 8, 1), "augmented")) == [not seeds, True, not seeds, False]
    assert thief.held == (6 if seeds else 3)


@pytest.mark.parametrize("block", [1, 3, 256])
def test_a_bounded_history_is_wiped_when_it_is_full(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filtering, "BLOCK", block)
    bounded = Filtering(seeds_in_history=True, capacity=2)
    for substitute in (NEAR, StatefulDetector(Corner(), 0.15, neighbours=1)):
        thief = QueryFilter(substitute, bounded)
        found = thief(tenths(1, 1, 5, 1, 5, 9, 1, 1), "augmented")  # full after 5, and after the second 5
        assert kept(found) == [True, False, True, True, True, True, True, True]
        assert thief.held == 1
        thief(tenths(5, 9), "seed")  # full after 5
        assert kept(thief(tenths(9, 1, 9), "augmented")) == [False, True, True]


@dataclass(frozen=True)
class Plan:
    """Crafts greys that the test has thought of: each source and target's own."""

    def __call__(self, surrogate: nn.Module, aim: Aim, generator: torch.Generator) -> Crafted:
        step = torch.where(aim.targets % 2 == 0, 0.2, 0.05).view(-1, 1, 1, 1)
        return Crafted.whole(aim.sources + step)


@pytest.mark.parametrize("seeds", [False, True])
def test_what_is_dropped_is_neither_sent_nor_counted(seeds: bool, generator: torch.Generator) -> None:
    asked: list[Images] = []

    def victim(images: Images) -> Outputs:
        asked.append(images)
        return torch.nn.functional.one_hot((images[:, 0, 0, 0] * 10).long() % 3, 3).float()

    net = ConvNet(((4,),))
    oracle = Budgeted(victim, 12)
    start = tenths(1, 5, side=8).contiguous()
    attack = Jba(Plan(), 12, targets_per_source=2, round_training=BRIEF, final_training=BRIEF)
    thief = QueryFilter(SimilarityDetector(Corner(), 0.04), Filtering(seeds_in_history=seeds))
    ran = attack.run(
        oracle, start, adapt=thief, new_surrogate=lambda: build(net, 3, generator), generator=generator
    )
    rounds = list(ran)
    sent = torch.cat(asked)[:, 0, 0, 0].numpy()
    assert oracle.queries == sum(len(part.sent) for part in rounds) == len(sent) <= 12
    assert oracle.queries - 2 == min(thief.passed, 10)
    assert thief.dropped > 0
    remembered = sent if seeds else sent[2:]
    apart = np.abs(remembered[:, None] - remembered[None])[~np.eye(len(remembered), dtype=bool)]
    assert (apart >= 0.04 - 1e-6).all()
    assert len(torch.cat([part.crafted for part in rounds])) == len(sent)
    assert len(rounds) > 2


def test_filter_then_blind() -> None:
    seen: list[Images] = []

    def blind(images: Images, kind: Kind) -> Adapted:
        assert kind == "augmented"
        assert len(images)
        seen.append(images)
        return Adapted(torch.ones(len(images), dtype=torch.bool), images + 0.5)

    thief = QueryFilter(NEAR)
    adapt = chain(thief, blind)
    keep, sent = adapt(tenths(1, 2, 3), "augmented")
    assert keep.tolist() == [True, False, True]
    assert torch.equal(torch.cat(seen), tenths(1, 3))
    assert torch.equal(sent, tenths(1, 3) + 0.5)
    assert kept(adapt(tenths(1, 1), "augmented")) == [False, False]  # the blinder is not asked
    keep, sent = chain(blind, QueryFilter(NEAR))(tenths(0, 1, 4), "augmented")  # the filter sees what is sent
    assert keep.tolist() == [True, False, True]
    assert torch.equal(sent, tenths(0, 4) + 0.5)


def test_queries_are_judged_as_they_will_be_sent_and_handed_on_as_they_came() -> None:
    found = QueryFilter(NEAR)(tenths(-5, -20, 14, 11), "augmented")
    assert kept(found) == [True, False, True, False]
    assert torch.equal(found.sent, tenths(-5, 14))


def literal(detector: Any, images: ImageArray, capacity: int | None) -> list[bool]:
    """Fold all that passed anew before each query."""
    rows, outputs = detector.features(images), thirds(images)
    history: list[int] = []
    keep = []
    for place in range(len(rows)):
        memory = detector.new_memory()
        for old in [*history, place]:
            verdict = detector.update(memory, rows[old : old + 1], outputs[old : old + 1])
        keep.append(verdict.judged == 1 and verdict.flags == 0)
        if keep[-1]:
            history.append(place)
        if len(history) == capacity:
            history = []
    return keep


@DETERMINISTIC
@given(
    st.sampled_from(OTHERS),
    st.lists(st.integers(0, 40), max_size=30),
    st.sampled_from([None, 2, 4]),
    st.integers(0, 30),
)
def test_any_detector_against_a_literal_loop(
    detector: Any, greys: list[int], capacity: int | None, cut: int
) -> None:
    noise = torch.rand(41, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 0.01
    images = (torch.tensor(greys).view(-1, 1, 1, 1) / 45 + noise[greys]).float()
    thief = QueryFilter(detector, Filtering(capacity=capacity), thirds)
    found = [*kept(thief(images[:cut], "pool")), *kept(thief(images[cut:], "pool"))]
    assert found == (literal(detector, images.numpy(), capacity) if greys else [])


class Wrapped:
    """A similarity detector that the filter does not recognise."""

    def __init__(self, detector: SimilarityDetector) -> None:
        self.detector = detector

    def __getattr__(self, name: str) -> Any:
        return getattr(self.detector, name)


@DETERMINISTIC
@given(
    st.lists(st.integers(0, 100), max_size=60),
    st.sampled_from([None, 2, 5]),
    st.sampled_from([None, 3]),
    st.integers(0, 60),
)
def test_the_fast_path_equals_the_generic_one(
    values: list[int], capacity: int | None, wiped: int | None, cut: int
) -> None:
    images = (torch.tensor(values, dtype=torch.float32) / 100).view(-1, 1, 1, 1).expand(-1, 3, 4, 4)
    detector = SimilarityDetector(Corner(), 0.045, flags_to_ban=10**9, capacity=wiped, axes=np.ones((1, 1)))
    config = Filtering(capacity=capacity, seeds_in_history=True)
    filters = [QueryFilter(detector, config), QueryFilter(Wrapped(detector), config)]
    for part, kind in ((images[:3], "seed"), (images[3 : cut + 3], "pool"), (images[cut + 3 :], "augmented")):
        one, other = (thief(part, kind) for thief in filters)
        assert kept(one) == kept(other)


def test_a_detector_that_wants_answers_needs_a_guess() -> None:
    with pytest.raises(RedhandedError, match=r"^guess: PradaDetector [^\n]+$"):
        QueryFilter(OTHERS[-1])


def test_settings_that_could_never_tell() -> None:
    with pytest.raises(RedhandedError, match=r"^capacity: 1 "):
        Filtering(capacity=1)
