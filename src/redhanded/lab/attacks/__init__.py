"""Extraction attacks: frozen values whose `run` yields rounds."""

from redhanded.lab.attacks.jba import Jba, jb_top3, jba_pgd
from redhanded.lab.attacks.perturb import LinfPgd, LogitAscent, Perturbation
from redhanded.lab.attacks.random_sampling import RandomSampling

__all__ = [
    "Jba",
    "LinfPgd",
    "LogitAscent",
    "Perturbation",
    "RandomSampling",
    "jb_top3",
    "jba_pgd",
]
