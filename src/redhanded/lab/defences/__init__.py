"""Output defences: oracles that wrap an oracle of probabilities and alter what it gives away (§V-B, §V-C).

Every answer is a probability row again, so defences stack; `ArgmaxOf` on top makes the stack answer with hard
labels.
"""

from redhanded.lab.defences.ensemble import DiverseEnsemble, train_ensemble
from redhanded.lab.defences.mad import Mad
from redhanded.lab.defences.misinformation import AdaptiveMisinformation, Misinformed, train_misinformation
from redhanded.lab.defences.reverse_sigmoid import ReverseSigmoid
from redhanded.lab.defences.truncation import ArgmaxOf, Rounded, TopK
from redhanded.lab.defences.utility import utility

__all__ = [
    "AdaptiveMisinformation",
    "ArgmaxOf",
    "DiverseEnsemble",
    "Mad",
    "Misinformed",
    "ReverseSigmoid",
    "Rounded",
    "TopK",
    "train_ensemble",
    "train_misinformation",
    "utility",
]
