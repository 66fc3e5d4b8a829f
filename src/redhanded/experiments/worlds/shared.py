"""What several worlds share: attacks at the size of a CPU, CIFAR-10 streams, the thief's own detector."""

from collections.abc import Mapping
from dataclasses import replace

from redhanded.experiments.cells.datasets import Archived, Data
from redhanded.experiments.worlds.attacks import Scale
from redhanded.lab.attacks import ActiveThief, Dfme, KnockoffNets, Tramer
from redhanded.lab.attacks.selection import Dfal
from redhanded.lab.encoders.similarity import Contrastive
from redhanded.lab.training import Training


def contrastive(pretraining: int, epochs: int, batch: int = 64) -> Contrastive:
    """Return a similarity encoder trained by Adam for so many epochs of its two stages."""
    training = Training(pretraining, batch, "adam", lr=1e-3, weight_decay=0.0, schedule="linear")
    return Contrastive(pretraining=training, contrastive=replace(training, epochs=epochs))


SUBSTITUTE = contrastive(60, 30, batch=32)
"""The released filter's 30 contrastive epochs, on few images."""

CIFAR10_COMMON = (
    Archived("cifar10", "train"),
    Archived("cifar10", "test", 5_000),
    Archived("cinic10_like", "train"),
)
CIFAR10_HELDOUT = (Archived("cifar10", "test", 5_000, skip=5_000),)
CIFAR10_NATURAL: Mapping[str, tuple[Data, ...]] = {
    "cifar100": (Archived("cifar100", "train"),),
    "tinyimagenet": (Archived("tinyimagenet", "train", 20_000, without="in_cinic10_like"),),
    "svhn": (Archived("svhn", "train"),),
}
"""Honest streams that tuned no threshold and taught no classifier."""
CIFAR10_OUTSIDE = Archived("tinyimagenet", "train", 20_000, skip=20_000, without="in_cinic10_like")


def cpu_scale(round_training: Training, final_training: Training) -> Scale:
    """Templates for a CPU: every thief trains as the Jacobian-based ones do, but those that cannot."""
    searching = Training(epochs=5, batch=50, lr=0.005, weight_decay=0.01, schedule="linear")
    return Scale(
        round_training,
        final_training,
        Dfme(budget=60_000, batch=16, generator_width=16, student_lr=0.2),
        Tramer(
            budget=20_000, rounds=5, round_training=searching, final_training=replace(searching, epochs=12)
        ),
        KnockoffNets(
            batch=8, online_training=replace(round_training, epochs=1), final_training=final_training
        ),
        ActiveThief(
            "uncertainty",
            rounds=5,
            round_training=final_training,
            final_training=final_training,
            dfal=Dfal(5, candidates=3, pool=500),
            shortlist=200,
        ),
    )
