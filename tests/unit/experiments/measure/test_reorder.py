"""A log in another order equals the attack that would have sent it so."""

import numpy as np
import pytest
import torch
from torch import Tensor

from redhanded.experiments.measure.querylog import QueryLog
from redhanded.experiments.measure.reorder import reordered
from redhanded.lab.attacks import jb_top3
from redhanded.lab.models import ConvNet, build
from redhanded.lab.training import Training
from redhanded.lab.types import Order

CLASSES = 5
BRIEF = Training(epochs=1, batch=64, lr=0.05)


def stolen(order: Order) -> QueryLog:
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(3 * 8 * 8, CLASSES, generator=torch.Generator().manual_seed(9))

    def victim(images: Tensor) -> Tensor:
        return torch.eye(CLASSES)[((images - 0.5).flatten(1) @ weights).argmax(1)]

    return QueryLog.of(
        jb_top3(60, order=order, round_training=BRIEF, final_training=BRIEF).run(
            victim,
            torch.rand(15, 3, 8, 8, generator=generator),
            new_surrogate=lambda: build(ConvNet(((4,), (6,))), CLASSES, generator),
            generator=generator,
        )
    )


@pytest.mark.parametrize("order", ["source", "batch64", "target"])
def test_it_is_what_the_attack_would_have_sent(order: Order) -> None:
    """One round of 15 sources, so that every order crafts with the same surrogate."""
    found = reordered(stolen("source"), order, torch.Generator())
    expected = stolen(order)
    assert found.parents.tolist() == expected.parents.tolist()
    assert found.targets.tolist() == expected.targets.tolist()
    np.testing.assert_allclose(found.images, expected.images, atol=1e-6)


@pytest.mark.parametrize("order", ["source-shuffled", "shuffled", "target", "source"])
def test_nothing_is_lost_and_parents_are_followed(order: Order) -> None:
    generator = torch.Generator().manual_seed(3)
    parents = np.array([-1] * 4 + [0, 0, 1, 2, 2, 3] + [4, 4, 4, 9, 6])  # two rounds, the last with a gap
    images = np.arange(15, dtype=np.float32)[:, None, None, None] * np.ones((1, 3, 1, 1), np.float32)
    log = QueryLog(
        images,
        np.eye(15, dtype=np.float32),
        parents,
        np.arange(15),
        np.array([0] * 4 + [1] * 11),
        np.array([0] * 4 + [1] * 6 + [2] * 5),
    )
    found = reordered(log, order, generator)
    old = found.targets  # which query of the log each one is
    assert sorted(old.tolist()) == list(range(15))
    assert found.rounds.tolist() == log.rounds.tolist()
    for place, was in enumerate(old.tolist()):
        assert found.images[place, 0, 0, 0] == was
        assert found.outputs[place, was] == 1
        parent = found.parents[place]
        assert (parent < 0) == (parents[was] < 0)
        if parent >= 0:
            assert old[parent] == parents[was]
            assert parent < place
    if order == "source":
        assert old.tolist() == list(range(15))
