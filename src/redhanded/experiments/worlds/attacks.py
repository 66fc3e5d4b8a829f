"""The attacks by the names that arrive from outside, at the size of a world and a budget."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from redhanded.lab import attacks
from redhanded.lab.attacks.selection import Strategy
from redhanded.lab.training import Training
from redhanded.lab.types import Attack, Fidelity


@dataclass(frozen=True)
class Scale:
    """What of an attack a world decides; budgets of the templates are replaced."""

    round_training: Training
    final_training: Training
    data_free: attacks.Dfme
    line_search: attacks.Tramer
    bandit: attacks.KnockoffNets
    active: attacks.ActiveThief


Make = Callable[[Scale, int, Fidelity], Attack]


def _random(scale: Scale, budget: int, _: Fidelity) -> Attack:  # only its seeds differ
    return attacks.RandomSampling(budget, training=scale.final_training)


def _jba(template: attacks.Jba, scale: Scale, budget: int, fidelity: Fidelity) -> Attack:
    """An augmentation; what has two readings of it is its perturbation, if anything has."""
    perturbation: Any = template.perturbation
    if hasattr(perturbation, "fidelity"):
        perturbation = replace(perturbation, fidelity=fidelity)
    return replace(
        template,
        perturbation=perturbation,
        budget=budget,
        round_training=scale.round_training,
        final_training=scale.final_training,
    )


def _dfme(scale: Scale, budget: int, fidelity: Fidelity) -> Attack:
    return replace(scale.data_free, budget=budget, fidelity=fidelity)


def _tramer(strategy: Literal["oracle", "local"], scale: Scale, budget: int, fidelity: Fidelity) -> Attack:
    return replace(scale.line_search, budget=budget, fidelity=fidelity, strategy=strategy)


def _knockoff(scale: Scale, budget: int, _: Fidelity) -> Attack:
    # the official adaptive policy is unpublished
    return replace(scale.bandit, budget=budget)


def _active(strategy: Strategy, scale: Scale, budget: int, _: Fidelity) -> Attack:
    return replace(scale.active, budget=budget, strategy=strategy)


AUGMENTATIONS: Mapping[str, attacks.Jba] = {
    "jb-top3": attacks.jb_top3(),
    "jba-pgd": attacks.jba_pgd(),  # Foolbox's defaults are the reference
    "jba-cw": attacks.Jba(attacks.CarliniWagner(), order="batch64"),
    "jba-bs": attacks.Jba(attacks.BinarySearch(), order="batch64"),
    "jb-self": attacks.jb_self(),  # the released function cannot be run as it describes itself
    "jbda": attacks.jbda(),
    "n-fgsm": attacks.prada(attacks.SignedSteps(), "own"),
    "t-rnd-fgsm": attacks.prada(attacks.SignedSteps(), "random"),
    "t-rnd-i-fgsm": attacks.prada(attacks.SignedSteps(steps=11), "random"),
    "feature-fool": attacks.Jba(attacks.FeatureFool(), order="batch64"),
    "feature-adversary": attacks.Jba(attacks.FeatureAdversary(), order="batch64"),
    "feature-adversary-fast": attacks.Jba(attacks.FastFeatureAdversary(), order="batch64"),
}
"""Jacobian-based attacks, each in the order in which its reference sends its queries."""

ATTACKS: Mapping[str, Make] = {
    "random": _random,
    **{name: partial(_jba, template) for name, template in AUGMENTATIONS.items()},
    "dfme": _dfme,
    "tramer": partial(_tramer, "oracle"),
    "tramer-local": partial(_tramer, "local"),
    "knockoff": _knockoff,
    "pool-random": partial(_active, "random"),
    "uncertainty": partial(_active, "uncertainty"),
    "k-center": partial(_active, "k-center"),
    "dfal": partial(_active, "dfal"),
    "dfal-k-center": partial(_active, "dfal+k-center"),
}
