"""Reverse sigmoid against numbers worked out by hand."""

from math import sqrt

import pytest
import torch
from torch import Tensor

from redhanded.errors import RedhandedError
from redhanded.lab.defences.reverse_sigmoid import ReverseSigmoid

IMAGES = torch.zeros(1, 3, 2, 2)


def served(row: list[float], beta: float, gamma: float) -> Tensor:
    return ReverseSigmoid(lambda _: torch.tensor([row], dtype=torch.float64), beta, gamma)(IMAGES)[0]


def test_by_hand() -> None:
    """With gamma = 1/2 the sigmoid of the logit is sqrt(y) / (sqrt(y) + sqrt(1 - y))."""
    # y = 0.8: odds 4, root 2, 2/3; y = 0.2: 1/3. 0.8 - 0.6 / 6 = 0.7 and 0.2 + 0.6 / 6 = 0.3
    torch.testing.assert_close(served([0.8, 0.2], 0.6, 0.5), torch.tensor([0.7, 0.3], dtype=torch.float64))
    # y = 0.5: 1/2, unmoved; y = 0.4 and 0.1 move up
    moved = [
        0.5,
        0.4 - 0.3 * (sqrt(0.4) / (sqrt(0.4) + sqrt(0.6)) - 0.5),
        0.1 - 0.3 * (1 / 4 - 0.5),  # odds 1/9, root 1/3
    ]
    wanted = torch.tensor(moved, dtype=torch.float64) / sum(moved)
    torch.testing.assert_close(served([0.5, 0.4, 0.1], 0.3, 0.5), wanted)


def test_negative_values_are_cut_off() -> None:
    """gamma = 1: 0.9 - 3 * 0.4 = -0.3 and 0.1 + 3 * 0.4 = 1.3."""
    torch.testing.assert_close(served([0.9, 0.1], 3.0, 1.0), torch.tensor([0.0, 1.0], dtype=torch.float64))


def test_the_released_defaults_say_nothing() -> None:
    torch.testing.assert_close(
        served([0.7, 0.2, 0.1], 1.0, 1.0), torch.full((3,), 1 / 3, dtype=torch.float64)
    )


def test_certain_answers_stay_finite_and_without_beta_nothing_changes() -> None:
    """sigmoid(+-inf) is 1 and 0: 1 - 0.5 beta against 0.5 beta for each of the others."""
    torch.testing.assert_close(
        served([0.0, 1.0, 0.0], 0.5, 0.2), torch.tensor([0.2, 0.6, 0.2], dtype=torch.float64)
    )
    torch.testing.assert_close(served([0.1, 0.9], 0.0, 0.2), torch.tensor([0.1, 0.9], dtype=torch.float64))


def test_settings_are_checked() -> None:
    with pytest.raises(RedhandedError, match=r"^beta: -1.0 [^\n]+$"):
        ReverseSigmoid(lambda _: IMAGES, beta=-1.0)
    with pytest.raises(RedhandedError, match=r"^gamma: 0.0 [^\n]+$"):
        ReverseSigmoid(lambda _: IMAGES, gamma=0.0)
