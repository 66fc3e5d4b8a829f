"""Extraction attacks: frozen values whose `run` yields rounds."""

from redhanded.lab.attacks.jba import Jba, jb_self, jb_top3, jba_pgd, jbda, prada
from redhanded.lab.attacks.perturb import LinfPgd, LogitAscent, Perturbation, SignedSteps
from redhanded.lab.attacks.random_sampling import RandomSampling

__all__ = [
    "Jba",
    "LinfPgd",
    "LogitAscent",
    "Perturbation",
    "RandomSampling",
    "SignedSteps",
    "jb_self",
    "jb_top3",
    "jba_pgd",
    "jbda",
    "prada",
]
