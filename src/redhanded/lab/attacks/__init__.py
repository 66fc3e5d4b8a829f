"""Extraction attacks: frozen values whose `run` yields rounds."""

from redhanded.lab.attacks.active import ActiveThief
from redhanded.lab.attacks.binary_search import BinarySearch
from redhanded.lab.attacks.carlini_wagner import CarliniWagner
from redhanded.lab.attacks.dfme import Dfme
from redhanded.lab.attacks.features import FastFeatureAdversary, FeatureAdversary, FeatureFool
from redhanded.lab.attacks.jba import Jba, jb_self, jb_top3, jba_pgd, jbda, prada
from redhanded.lab.attacks.knockoff import KnockoffNets
from redhanded.lab.attacks.perturb import LinfPgd, LogitAscent, Perturbation, SignedSteps
from redhanded.lab.attacks.random_sampling import RandomSampling
from redhanded.lab.attacks.tramer import Tramer

__all__ = [
    "ActiveThief",
    "BinarySearch",
    "CarliniWagner",
    "Dfme",
    "FastFeatureAdversary",
    "FeatureAdversary",
    "FeatureFool",
    "Jba",
    "KnockoffNets",
    "LinfPgd",
    "LogitAscent",
    "Perturbation",
    "RandomSampling",
    "SignedSteps",
    "Tramer",
    "jb_self",
    "jb_top3",
    "jba_pgd",
    "jbda",
    "prada",
]
