"""The attacks by the names that arrive from outside, at the size of a world and a budget."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from redhanded.lab.attacks import (
    ActiveThief,
    BinarySearch,
    CarliniWagner,
    Dfme,
    FastFeatureAdversary,
    FeatureAdversary,
    FeatureFool,
    Jba,
    KnockoffNets,
    Perturbation,
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
from redhanded.lab.training import Training
from redhanded.lab.types import Attack, Fidelity


@dataclass(frozen=True)
class Scale:
    """What of an attack a world decides; budgets of the templates are replaced."""

    round_training: Training
    final_training: Training
    data_free: Dfme
    line_search: Tramer
    bandit: KnockoffNets
    active: ActiveThief


Make = Callable[[Scale, int, Fidelity], Attack]


def _random(scale: Scale, budget: int, fidelity: Fidelity) -> Attack:
    del fidelity  # only its seeds differ
    return RandomSampling(budget, training=scale.final_training)


def _jb_top3(scale: Scale, budget: int, fidelity: Fidelity) -> Attack:
    return jb_top3(
        budget, fidelity=fidelity, round_training=scale.round_training, final_training=scale.final_training
    )


def _jba_pgd(scale: Scale, budget: int, fidelity: Fidelity) -> Attack:
    del fidelity  # Foolbox's defaults are the reference; only its seeds differ
    return jba_pgd(budget, round_training=scale.round_training, final_training=scale.final_training)


def _jbda(scale: Scale, budget: int, fidelity: Fidelity) -> Attack:
    return jbda(
        budget, fidelity=fidelity, round_training=scale.round_training, final_training=scale.final_training
    )


def _jb_self(scale: Scale, budget: int, fidelity: Fidelity) -> Attack:
    del fidelity  # the released function cannot be run as it describes itself
    return jb_self(budget, round_training=scale.round_training, final_training=scale.final_training)


def _jba(perturbation: Callable[[Fidelity], Perturbation]) -> Make:
    """An augmentation towards the three likeliest classes, in the order in which the reference sends it."""

    def make(scale: Scale, budget: int, fidelity: Fidelity) -> Attack:
        return Jba(
            perturbation(fidelity),
            budget,
            "batch64",
            round_training=scale.round_training,
            final_training=scale.final_training,
        )

    return make


def _prada(steps: SignedSteps, towards: Literal["random", "own"]) -> Make:
    def make(scale: Scale, budget: int, fidelity: Fidelity) -> Attack:
        del fidelity  # there is one reading of it
        return prada(
            steps,
            towards,
            budget,
            round_training=scale.round_training,
            final_training=scale.final_training,
        )

    return make


def _dfme(scale: Scale, budget: int, fidelity: Fidelity) -> Attack:
    return replace(scale.data_free, budget=budget, fidelity=fidelity)


def _tramer(scale: Scale, budget: int, fidelity: Fidelity) -> Attack:
    return replace(scale.line_search, budget=budget, fidelity=fidelity)


def _tramer_local(scale: Scale, budget: int, fidelity: Fidelity) -> Attack:
    return replace(scale.line_search, budget=budget, fidelity=fidelity, strategy="local")


def _knockoff(scale: Scale, budget: int, fidelity: Fidelity) -> Attack:
    del fidelity  # the official adaptive policy is unpublished
    return replace(scale.bandit, budget=budget)


def _active(strategy: Strategy) -> Make:
    def make(scale: Scale, budget: int, fidelity: Fidelity) -> Attack:
        del fidelity
        return replace(scale.active, budget=budget, strategy=strategy)

    return make


ATTACKS: Mapping[str, Make] = {
    "random": _random,
    "jb-top3": _jb_top3,
    "jba-pgd": _jba_pgd,
    "jba-cw": _jba(lambda fidelity: CarliniWagner(fidelity=fidelity)),
    "jba-bs": _jba(lambda fidelity: BinarySearch(fidelity=fidelity)),
    "jb-self": _jb_self,
    "jbda": _jbda,
    "n-fgsm": _prada(SignedSteps(), "own"),
    "t-rnd-fgsm": _prada(SignedSteps(), "random"),
    "t-rnd-i-fgsm": _prada(SignedSteps(steps=11), "random"),
    "feature-fool": _jba(lambda fidelity: FeatureFool(fidelity=fidelity)),
    "feature-adversary": _jba(lambda _: FeatureAdversary()),
    "feature-adversary-fast": _jba(lambda _: FastFeatureAdversary()),
    "dfme": _dfme,
    "tramer": _tramer,
    "tramer-local": _tramer_local,
    "knockoff": _knockoff,
    "pool-random": _active("random"),
    "uncertainty": _active("uncertainty"),
    "k-center": _active("k-center"),
    "dfal": _active("dfal"),
    "dfal-k-center": _active("dfal+k-center"),
}
