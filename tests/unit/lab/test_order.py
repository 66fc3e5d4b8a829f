"""The order of queries against literal loops."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from redhanded.lab.attacks.order import send_order
from redhanded.lab.types import Order

DETERMINISTIC = settings(derandomize=True, deadline=None, max_examples=25)
SIZES = st.integers(0, 200), st.integers(0, 4)


def order(sources: int, targets: int, name: Order, seed: int = 0) -> list[tuple[int, int]]:
    """(source, target) of each query in turn."""
    places = send_order(sources, targets, name, torch.Generator().manual_seed(seed))
    return [divmod(place, targets) for place in places.tolist()]


@DETERMINISTIC
@given(*SIZES)
def test_source(sources: int, targets: int) -> None:
    expected = [(source, target) for source in range(sources) for target in range(targets)]
    assert order(sources, targets, "source") == expected


@DETERMINISTIC
@given(*SIZES)
def test_batch64(sources: int, targets: int) -> None:
    expected = [
        (source, target)
        for start in range(0, sources, 64)
        for target in range(targets)
        for source in range(start, min(start + 64, sources))
    ]
    assert order(sources, targets, "batch64") == expected


@DETERMINISTIC
@given(*SIZES)
def test_target(sources: int, targets: int) -> None:
    expected = [(source, target) for target in range(targets) for source in range(sources)]
    assert order(sources, targets, "target") == expected


@DETERMINISTIC
@given(*SIZES)
def test_shuffled(sources: int, targets: int) -> None:
    shuffled = order(sources, targets, "shuffled")
    assert sorted(shuffled) == order(sources, targets, "source")
    assert shuffled == order(sources, targets, "shuffled")


def test_shuffled_sources_keep_their_variants_together() -> None:
    mixed = order(50, 3, "source-shuffled")
    assert sorted(mixed) == order(50, 3, "source") != mixed
    assert [target for _, target in mixed] == [0, 1, 2] * 50
    assert all(len({source for source, _ in mixed[at : at + 3]}) == 1 for at in range(0, 150, 3))
    assert mixed != order(50, 3, "source-shuffled", seed=1)


def test_shuffled_depends_on_the_generator() -> None:
    assert order(50, 3, "shuffled", seed=0) != order(50, 3, "shuffled", seed=1)
    assert order(50, 3, "shuffled") != order(50, 3, "source")
