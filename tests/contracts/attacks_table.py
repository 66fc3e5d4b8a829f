"""Every attack, small enough to be run many times: a new attack adds one row."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from redhanded.lab.attacks import Jba, LinfPgd, LogitAscent, RandomSampling, jb_top3, jba_pgd
from redhanded.lab.models import ConvNet
from redhanded.lab.training import Training
from redhanded.lab.types import Attack

CLASSES = 5
SURROGATE = ConvNet(((4,), (6,)))
ROUND = Training(epochs=1, batch=16, lr=0.05)
FINAL = Training(epochs=2, batch=16, lr=0.05)
ASCENT_REACH = 0.08 * 0.2023
"""JB-top3's eight steps of 0.01, in pixels of the channel that deviates most."""
PGD_REACH = 8 / 256


def images(count: int, seed: int = 0) -> Tensor:
    """Natural images, black and white pixels among them."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(count, 3, 8, 8, generator=generator) * 1.2 - 0.1).clamp(0, 1)


_WEIGHTS = torch.randn(3 * 8 * 8, CLASSES, generator=torch.Generator().manual_seed(99))


def victim(images: Tensor) -> Tensor:
    """Hard labels; each row depends on its image alone, and small changes move some of them."""
    scores = ((images.flatten(1) - 0.5)[:, :, None] * _WEIGHTS).sum(1)
    return torch.eye(CLASSES)[scores.argmax(1)]


@dataclass(frozen=True)
class Row:
    """An attack and what it promises beyond the contract."""

    name: str
    attack: Attack
    reach: float = 0.0
    """How far a pixel of a query may lie from its parent's."""
    training: Training | None = ROUND
    """Of every surrogate but the last, which has `FINAL`."""
    drawn: bool = True
    """Whether the queries depend on the generator, or on the seeds alone."""
    enough: Callable[[int, int], bool] = lambda seeds, budget: 0 < seeds <= budget
    """Whether so many seeds do for this budget, which is then spent to the last query."""


def jba(perturbation: Any, reach: float, name: str, **fields: Any) -> Row:
    """A row of the Jacobian-based family."""
    attack = Jba(perturbation, 31, round_training=ROUND, final_training=FINAL, **fields)
    return Row(name, attack, reach)


ASCENT = LogitAscent(steps=2, step=0.04)

ROWS = [
    Row(
        "random",
        RandomSampling(31, training=FINAL),
        training=None,
        drawn=False,
        enough=lambda seeds, budget: seeds >= budget > 0,
    ),
    Row("jb-top3", jb_top3(31, round_training=ROUND, final_training=FINAL), ASCENT_REACH),
    Row(
        "jb-top3-released",
        jb_top3(31, fidelity="released", round_training=ROUND, final_training=FINAL),
        ASCENT_REACH,
    ),
    Row("jba-pgd", jba_pgd(31, round_training=ROUND, final_training=FINAL), PGD_REACH),
    jba(LinfPgd(steps=2), PGD_REACH, "reservoir", reservoir=3, order="batch64"),
    jba(LinfPgd(steps=2), PGD_REACH, "reservoir-random", reservoir=6, order="target", truncation="random"),
    jba(ASCENT, ASCENT_REACH, "one-target", targets_per_source=1),
    jba(ASCENT, ASCENT_REACH, "every-target", targets_per_source=CLASSES - 1),
    jba(ASCENT, ASCENT_REACH, "batch64", order="batch64"),
    jba(ASCENT, ASCENT_REACH, "target", order="target"),
    jba(ASCENT, ASCENT_REACH, "shuffled", order="shuffled"),
    jba(ASCENT, ASCENT_REACH, "truncation-random", truncation="random"),
]
