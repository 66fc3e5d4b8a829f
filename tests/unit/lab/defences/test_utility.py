"""What a defence costs, by hand."""

import pytest
import torch

from redhanded.lab.defences.utility import utility


def test_by_hand() -> None:
    plain = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]])
    served = torch.tensor([[0.8, 0.2], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]])
    labels = torch.tensor([0, 0, 1, 0])
    measured = utility(lambda _: served, lambda _: plain, torch.zeros(4, 3, 2, 2), labels)
    wanted = {"accuracy": 0.5, "accuracy_change": -0.25, "l1_mean": 0.15, "l1_max": 0.4}
    assert measured == pytest.approx(wanted)
    assert list(measured) == list(wanted)
