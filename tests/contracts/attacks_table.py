"""Every attack, small enough to be run many times: a new attack adds one row."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

import torch
from torch import Tensor

from redhanded.lab.attacks import (
    ActiveThief,
    BinarySearch,
    CarliniWagner,
    Dfme,
    FeatureAdversary,
    FeatureFool,
    Jba,
    KnockoffNets,
    LinfPgd,
    LogitAscent,
    RandomSampling,
    SignedSteps,
    Tramer,
    jb_self,
    jb_top3,
    jba_pgd,
    jbda,
    prada,
)
from redhanded.lab.attacks.selection import Strategy
from redhanded.lab.models import ConvNet
from redhanded.lab.training import Training
from redhanded.lab.types import Attack

CLASSES = 5
SURROGATE = ConvNet(((4,), (6,)))
ROUND = Training(epochs=1, batch=16, lr=0.05)
FINAL = Training(epochs=2, batch=16, lr=0.05)
LONGER = Training(epochs=40, batch=16, lr=0.05)
"""Long enough for a surrogate that knows more than one class."""
ASCENT_REACH = 0.08 * 0.2023
"""JB-top3's eight steps of 0.01, in pixels of the channel that deviates most."""
PGD_REACH = 8 / 256


def images(count: int, seed: int = 0) -> Tensor:
    """Natural images, black and white pixels among them."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(count, 3, 8, 8, generator=generator) * 1.2 - 0.1).clamp(0, 1)


_WEIGHTS = torch.randn(3 * 8 * 8, CLASSES, generator=torch.Generator().manual_seed(99))


def scores(images: Tensor) -> Tensor:
    """Logits; each row depends on its image alone, and small changes move some of them."""
    small = torch.nn.functional.adaptive_avg_pool2d(images, 8)
    return ((small.flatten(1) - 0.5)[:, :, None] * _WEIGHTS).sum(1)


def victim(images: Tensor) -> Tensor:
    """Hard labels."""
    return torch.eye(CLASSES)[scores(images).argmax(1)]


def generous_victim(images: Tensor) -> Tensor:
    """Probabilities."""
    return scores(images).softmax(1)


@dataclass(frozen=True)
class Row:
    """An attack and what it promises beyond the contract."""

    name: str
    attack: Attack
    reach: float = 0.0
    """How far a pixel of an augmented query may lie from its parent's; 0 if it augments nothing."""
    training: Training | None = ROUND
    """Of every surrogate but the last, which has `FINAL`; None if it trains otherwise."""
    drawn: bool = True
    """Whether the queries depend on the generator, or on the seeds alone."""
    enough: Callable[[int, int], bool] = lambda seeds, budget: 0 < seeds <= budget
    """Whether so many seeds do for this budget, which is then spent to the last query."""
    moves: bool = True
    """Whether every augmented query differs from its parent."""
    spends: bool = True
    """Whether it spends its budget to the last query: crafting may fail, and a pool may dry up."""
    further: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """Further arguments of `run`."""

    @property
    def oracle(self) -> Callable[[Tensor], Tensor]:
        """What it asks."""
        return victim if self.attack.answers == "labels" else generous_victim

    @property
    def augments(self) -> bool:
        """Whether it crafts its queries from earlier ones, round by round."""
        return self.reach > 0


def jba(
    perturbation: Any,
    reach: float,
    name: str,
    *,
    moves: bool = True,
    spends: bool = True,
    training: Training = ROUND,
    **fields: Any,
) -> Row:
    """A row of the Jacobian-based family."""
    attack = Jba(perturbation, 31, round_training=training, final_training=FINAL, **fields)
    return Row(name, attack, reach, training, moves=moves, spends=spends)


def pool(name: str, attack: Attack, **further: Any) -> Row:
    """A row of the active-learning attacks: a pool of at least the budget."""
    enough: Callable[[int, int], bool] = lambda seeds, budget: seeds >= budget > 0  # noqa: E731
    return Row(name, attack, training=None, enough=enough, further=further)


def nothing(name: str, attack: Attack) -> Row:
    """A row of the data-free attacks."""
    return Row(name, attack, training=None, enough=lambda seeds, budget: seeds == 0 < budget)


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
    Row("jbda", jbda(31, round_training=ROUND, final_training=FINAL), 0.1),
    Row("jb-self", jb_self(31, round_training=ROUND, final_training=FINAL), 0.1 * 0.2023),
    Row("n-fgsm", prada(SignedSteps(), "own", 31, round_training=ROUND, final_training=FINAL), 64 / 255),
    Row(
        "t-rnd-i-fgsm",
        prada(SignedSteps(steps=3), "random", 31, round_training=ROUND, final_training=FINAL),
        64 / 255,
    ),
    jba(
        CarliniWagner(steps=40, step=0.1, searches=2, initial_constant=100.0),
        1.0,
        "cw",
        training=LONGER,
        order="batch64",
        spends=False,
    ),
    jba(
        CarliniWagner(steps=2, searches=1, fidelity="released"),
        1.0,
        "cw-released",
        order="batch64",
        moves=False,  # what fails is black, and so is what fails again
    ),
    jba(
        BinarySearch(LinfPgd(0.5, 20, 0.1)),
        0.5,
        "binary-search",
        training=LONGER,
        spends=False,
        moves=False,  # the middle may be the source itself, to the last bit
    ),
    jba(FeatureFool(iterations=2), 1.0, "feature-fool", moves=False),
    jba(FeatureAdversary(iterations=2), 10 / 255, "feature-adversary", moves=False),
    nothing("dfme", Dfme(31, batch=4, latent=8, generator_width=8, student_lr=0.01)),
    nothing(
        "dfme-released",
        Dfme(31, batch=4, latent=8, generator_width=8, student_lr=0.01, fidelity="released"),
    ),
    nothing(
        "tramer", Tramer(budget=31, rounds=2, local_points=20, round_training=ROUND, final_training=FINAL)
    ),
    nothing(
        "tramer-local",
        Tramer("local", 31, rounds=2, local_points=20, round_training=ROUND, final_training=FINAL),
    ),
    *(
        pool(
            f"active-{strategy}",
            ActiveThief(strategy, 31, rounds=2, round_training=ROUND, final_training=FINAL),
        )
        for strategy in get_args(Strategy)
    ),
    pool(
        "knockoff",
        KnockoffNets(31, batch=4, online_training=ROUND, final_training=FINAL),
        groups=torch.arange(40)[:, None] % 3,
    ),
]
