"""Rounded, cut and label-only answers."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from redhanded.errors import RedhandedError
from redhanded.lab.defences.rows import renormalised
from redhanded.lab.defences.truncation import ArgmaxOf, Rounded, TopK


class Says:
    """An oracle that gives the same rows to any images."""

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows

    def __call__(self, images: Tensor) -> Tensor:
        return self.rows


def images(n: int) -> Tensor:
    return torch.zeros(n, 3, 2, 2)


ROWS = torch.tensor([[0.62, 0.26, 0.12], [0.31, 0.34, 0.35]])


def test_rounded_by_hand() -> None:
    served = Rounded(Says(ROWS), decimals=1)(images(2))
    torch.testing.assert_close(served[0], torch.tensor([0.6, 0.3, 0.1]))
    assert served[1, 0] == served[1, 1]
    torch.testing.assert_close(served.sum(1), torch.ones(2))


def test_rounded_divides_by_the_sum_and_nothing_left_is_uniform() -> None:
    rows = torch.tensor([[0.56, 0.36, 0.04, 0.04], [0.25, 0.25, 0.25, 0.25]])
    served = Rounded(Says(rows), decimals=1)(images(2))
    torch.testing.assert_close(served[0], torch.tensor([0.6, 0.4, 0.0, 0.0]))
    many = torch.full((1, 50), 0.02)
    torch.testing.assert_close(Rounded(Says(many), decimals=1)(images(1)), many)
    rows = torch.tensor([[0.36, 0.36, 0.28]])
    wanted = torch.tensor([[0.4, 0.4, 0.3]]) / 1.1
    torch.testing.assert_close(Rounded(Says(rows), decimals=1)(images(1)), wanted)


def test_top_k_by_hand() -> None:
    rows = torch.tensor([[0.1, 0.5, 0.05, 0.35], [0.4, 0.1, 0.1, 0.4]])
    torch.testing.assert_close(
        TopK(Says(rows), 2)(images(2)),
        torch.tensor([[0.075, 0.5, 0.075, 0.35], [0.4, 0.1, 0.1, 0.4]]),
    )
    third = 0.6 / 3
    torch.testing.assert_close(  # of two equal classes the one that argmax names is kept
        TopK(Says(rows), 1)(images(2)),
        torch.tensor([[0.5 / 3, 0.5, 0.5 / 3, 0.5 / 3], [0.4, third, third, third]]),
    )
    ties = torch.tensor([[1.0, 3.0] * 50]) / 200
    assert TopK(Says(ties), 1)(images(1)).argmax() == 1
    for k in (4, 9):
        assert torch.equal(TopK(Says(rows), k)(images(2)), rows)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(1, 4))
def test_what_is_served_is_a_probability_row(seed: int, k: int, decimals: int) -> None:
    rows = (torch.randn(5, 6, generator=torch.Generator().manual_seed(seed)) * 3).softmax(1)
    for served in (
        TopK(Says(rows), k)(images(5)),
        Rounded(Says(rows), decimals)(images(5)),
        Rounded(TopK(Says(rows), k), decimals)(images(5)),
    ):
        assert served.shape == rows.shape
        assert (served >= 0).all()
        torch.testing.assert_close(served.sum(1), torch.ones(5))
    cut = TopK(Says(rows), k)(images(5))
    assert torch.equal(cut.argmax(1), rows.argmax(1))
    assert torch.equal(cut.topk(min(k, 6)).values, rows.topk(min(k, 6)).values)


def test_argmax_of_meets_the_defence_underneath() -> None:
    rows = torch.tensor([[0.14, 0.26, 0.6], [0.46, 0.54, 0.0]])
    assert ArgmaxOf(Says(rows))(images(2)).tolist() == [[0, 0, 1], [0, 1, 0]]
    # both round to 0.5: the first wins
    assert ArgmaxOf(Rounded(Says(rows), 1))(images(2)).tolist() == [[0, 0, 1], [1, 0, 0]]


def test_renormalised_by_hand() -> None:
    rows = renormalised(torch.tensor([[1.0, 3.0], [0.0, 0.0]]))
    assert rows.tolist() == [[0.25, 0.75], [0.5, 0.5]]


def test_settings_that_are_no_answer_are_refused() -> None:
    with pytest.raises(RedhandedError, match=r"^decimals: 0 [^\n]+$"):
        Rounded(Says(ROWS), 0)
    with pytest.raises(RedhandedError, match=r"^k: 0 [^\n]+$"):
        TopK(Says(ROWS), 0)
