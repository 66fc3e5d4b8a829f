"""Seeds: balanced or uniform, different, in random order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redhanded.errors import RedhandedError
from redhanded.lab.data.seeds import balanced_indices, uniform_indices


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(classes=st.integers(1, 12), per_class=st.integers(1, 9), seed=st.integers(0, 99), data=st.data())
def test_each_class_has_its_share(classes: int, per_class: int, seed: int, data: st.DataObject) -> None:
    n = data.draw(st.integers(classes, classes * per_class))
    labels = rng(seed).permutation(np.repeat(np.arange(classes), per_class))
    drawn = balanced_indices(labels, n, rng(seed), classes)
    assert drawn.dtype == np.int64
    assert len(set(drawn.tolist())) == n
    counts = np.bincount(labels[drawn], minlength=classes)
    assert counts.min() == n // classes
    assert counts.max() == -(-n // classes)


def test_the_rest_goes_to_random_classes() -> None:
    labels = np.repeat(np.arange(5), 4)
    favoured = {
        int(np.bincount(labels[balanced_indices(labels, 6, rng(seed), 5)]).argmax()) for seed in range(60)
    }
    assert favoured == set(range(5))


def test_the_rest_goes_only_to_classes_that_have_it() -> None:
    labels = np.array([0, 0, 1, 2, 2])
    for seed in range(20):
        drawn = balanced_indices(labels, 5, rng(seed), 3)
        assert sorted(drawn) == [0, 1, 2, 3, 4]


def test_the_order_is_random_and_the_draw_repeats() -> None:
    labels = np.repeat(np.arange(4), 25)
    drawn = balanced_indices(labels, 40, rng(1), 4)
    assert np.any(np.diff(labels[drawn]) < 0)
    assert np.array_equal(drawn, balanced_indices(labels, 40, rng(1), 4))
    assert not np.array_equal(drawn, balanced_indices(labels, 40, rng(2), 4))


@pytest.mark.parametrize(
    ("labels", "n", "classes", "message"),
    [
        ([0, 1, 2], 2, 3, "n_seed: 2 seeds for 3 classes; ask for at least 3"),
        ([0, 0, 1], 4, 2, "class 1 has 1; ask for at most 2"),
        ([0, 0, 1, 1], 5, 2, "class 0 has 2; ask for at most 4"),
        ([0, 0, 2, 2], 3, 3, "class 1 has 0"),
        ([0, 3], 3, 3, "labels: 0..3 for 3 classes"),
    ],
)
def test_what_cannot_be_drawn(labels: list[int], n: int, classes: int, message: str) -> None:
    with pytest.raises(RedhandedError, match=message):
        balanced_indices(np.array(labels), n, rng(), classes)


def test_uniform() -> None:
    drawn = uniform_indices(100, 100, rng())
    assert sorted(drawn) == list(range(100))
    assert drawn.dtype == np.int64
    assert list(drawn) != sorted(drawn)
    firsts = {int(uniform_indices(5, 2, rng(seed))[0]) for seed in range(60)}
    assert firsts == set(range(5))


@pytest.mark.parametrize("n", [0, -1, 6])
def test_uniform_cannot_draw(n: int) -> None:
    with pytest.raises(RedhandedError, match=f"n_seed: {n} seeds of 5 images"):
        uniform_indices(5, n, rng())
