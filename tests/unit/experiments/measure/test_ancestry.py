"""The ancestry ceiling of the paper's query orders, worked out from their schedules alone."""

import numpy as np
import pytest
import torch

from redhanded.experiments.measure.ancestry import ancestry_ceiling, families
from redhanded.lab.attacks.order import send_order


def schedule(order: str, seeds: int, budget: int) -> np.ndarray:
    parents = [-1] * seeds
    while len(parents) < budget:
        left = budget - len(parents)
        sources = min(len(parents), -(-left // 3))
        parents += (send_order(sources, 3, order, torch.Generator())[:left] // 3).tolist()
    return np.array(parents)


@pytest.mark.parametrize(("order", "bans"), [("source", 663), ("batch64", 322), ("target", 9)])
def test_orders_decide_the_ceiling(order: str, bans: int) -> None:
    assert len(ancestry_ceiling(schedule(order, 5_000, 50_000)).bans) == bans


def test_kin_descend_from_one_seed_and_a_ban_wipes_the_history() -> None:
    parents = np.array([-1, -1, 0, 2, 1, 3, -1, 6, 0])
    assert families(parents).tolist() == [0, 1, 0, 0, 1, 0, 6, 6, 0]
    found = ancestry_ceiling(parents, flags_to_ban=3)
    assert found.counts.tolist() == [0, 0, 1, 1, 1, 0, 0, 1, 1]  # the fifth closes; families are new again
    assert found.bans.tolist() == [4]
