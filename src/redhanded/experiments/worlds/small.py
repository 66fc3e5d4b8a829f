"""CIFAR-10 on a CPU, at about a twentieth of the paper's budget."""

from dataclasses import replace

from redhanded.experiments.cells.datasets import Archived, Mixed
from redhanded.experiments.worlds import shared
from redhanded.experiments.worlds.query_sets import CIFAR10_QUERY_SETS
from redhanded.experiments.worlds.world import Judging, World
from redhanded.lab.adaptive.autoencoder import Blinding
from redhanded.lab.attacks import LinfPgd
from redhanded.lab.models import ConvNet, Dense
from redhanded.lab.training import Training


def small() -> World:
    """CIFAR-10 at about a twentieth of the paper's budget, with models that a CPU trains in minutes."""
    return World(
        name="small",
        title="CIFAR-10, a twentieth of the paper's budget",
        victim_data=Archived("cifar10", "train"),
        test=Archived("cifar10", "test"),
        victim=ConvNet(((32,), (64, 64), (128, 128), (256,))),
        victim_training=Training(epochs=8, batch=128, lr=0.1, schedule="linear", crop_flip=True),
        surrogate=ConvNet(((16,), (32, 32), (64, 64), (128,))),
        dense=Dense((32,)),
        scale=shared.cpu_scale(
            Training(epochs=20, batch=32, lr=0.05, schedule="linear"),
            Training(epochs=40, batch=32, lr=0.05, schedule="linear"),
        ),
        encoder=shared.contrastive(6, 2),
        tuning=(Archived("cifar10", "train"),),
        honest=(Archived("cifar10", "test"),),
        natural={
            "cifar100": (Archived("cifar100", "train"),),
            "tinyimagenet": (Archived("tinyimagenet", "train"),),
        },
        query_set=Archived("cifar10", "train"),
        query_sets=CIFAR10_QUERY_SETS,
        close_set="CINIC10",
        pool=Mixed((Archived("cifar100", "train", 5_000), Archived("svhn", "train"))),
        judging=Judging(
            common=shared.CIFAR10_COMMON,
            heldout=shared.CIFAR10_HELDOUT,
            natural=shared.CIFAR10_NATURAL,
            inside=Archived("cifar10", "train", 20_000),
            outside=shared.CIFAR10_OUTSIDE,
            classifier_training=Training(epochs=8, batch=64, lr=0.05, schedule="linear"),
            vqvae_updates=1_500,
            vqvae_batch=64,
            prior_updates=1_000,
            seat_pgd=LinfPgd(epsilon=24 / 255, steps=10, relative_step=0.15),
            seat_images=2_500,
            seat_epochs=6,
            own_sets=2,
            defender_training=Training(epochs=4, batch=64, lr=0.05, schedule="linear"),
        ),
        thief=Archived("cifar10", "train", 500, skip=25_000),
        substitute=shared.SUBSTITUTE,
        blinder_training=replace(Blinding().training, batch=16),  # the script has ten times the images
        public=Archived("tinyimagenet", "train", 20_000),
        budget=2_500,
        n_seed_small=25,
        n_seed_large=250,
    )
