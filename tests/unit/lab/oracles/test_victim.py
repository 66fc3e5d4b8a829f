"""What a victim gives away, and how often it is asked."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from redhanded.errors import BudgetExhaustedError, RedhandedError
from redhanded.lab.models import Normalise, seeded
from redhanded.lab.oracles.victim import Budgeted, HardLabels, Logits, Probabilities, as_numpy

IMAGES = torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def model(generator: torch.Generator) -> nn.Module:
    with seeded(generator), torch.no_grad():
        layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)
        model = nn.Sequential(Normalise(), *layers)
        for batch in IMAGES.split(4):  # batch norm learns its statistics
            model.train()(batch)
    return model


class Asked:
    """An oracle that remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, images: Tensor) -> Tensor:
        self.batches.append(len(images))
        return images.flatten(1)[:, :2]


def test_logits_are_the_models_in_evaluation_mode(model: nn.Module) -> None:
    outputs = Logits(model)(IMAGES)
    with torch.no_grad():
        torch.testing.assert_close(outputs, model.eval()(IMAGES), atol=1e-6, rtol=0)
    assert not outputs.requires_grad


def test_probabilities_are_a_softmax(model: nn.Module) -> None:
    outputs = Probabilities(model)(IMAGES)
    exponentials = Logits(model)(IMAGES).exp()
    torch.testing.assert_close(outputs, exponentials / exponentials.sum(1, keepdim=True))


def test_hard_labels_are_one_hot(model: nn.Module) -> None:
    outputs = HardLabels(model)(IMAGES)
    logits = Logits(model)(IMAGES).tolist()
    assert outputs.dtype == torch.float32
    assert outputs.shape == (12, 5)
    for row, scores in zip(outputs.tolist(), logits, strict=True):
        assert row == [float(score == max(scores)) for score in scores]
    assert len(set(outputs.argmax(1).tolist())) > 1


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 7), max_size=12), st.integers(0, 30))
def test_budgeted_counts_exactly_and_refuses_before_sending(sizes: list[int], budget: int) -> None:
    oracle = Asked()
    budgeted = Budgeted(oracle, budget)
    spent = 0
    for size in sizes:
        if spent + size <= budget:
            assert len(budgeted(IMAGES[:size])) == size
            spent += size
        else:
            before = list(oracle.batches)
            with pytest.raises(BudgetExhaustedError, match=rf"^budget: {size} more[^\n]*{budget};[^\n]+$"):
                budgeted(IMAGES[:size])
            assert oracle.batches == before
        assert budgeted.queries == sum(oracle.batches) == spent


def test_no_budget_only_counts() -> None:
    budgeted = Budgeted(Asked())
    for size in (3, 0, 9):
        budgeted(IMAGES[:size])
    assert budgeted.queries == 12
    assert issubclass(BudgetExhaustedError, RedhandedError)


def test_a_failed_call_is_not_counted() -> None:
    def broken(images: Tensor) -> Tensor:
        raise ConnectionError

    budgeted = Budgeted(broken, 5)
    with pytest.raises(ConnectionError):
        budgeted(IMAGES[:3])
    assert budgeted.queries == 0


def test_as_numpy_is_the_oracle_on_arrays(model: nn.Module) -> None:
    oracle = HardLabels(model)
    images = IMAGES.numpy().copy()
    images.flags.writeable = False  # as one read from a query log
    outputs = as_numpy(oracle)(images)
    assert outputs.dtype == np.float32
    np.testing.assert_array_equal(outputs, oracle(IMAGES).numpy())
    np.testing.assert_array_equal(images, IMAGES.numpy())
