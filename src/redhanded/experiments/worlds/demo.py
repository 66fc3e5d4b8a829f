"""The demonstration: digits over photographs, nothing to download."""

from dataclasses import replace

from redhanded.experiments.cells.datasets import Composed, Mixed
from redhanded.experiments.worlds import shared
from redhanded.experiments.worlds.query_sets import DEMO_QUERY_SETS
from redhanded.experiments.worlds.world import Judging, World
from redhanded.lab.adaptive.autoencoder import Blinding
from redhanded.lab.attacks import LinfPgd
from redhanded.lab.encoders.vqvae import VqVae
from redhanded.lab.models import ConvNet, Dense
from redhanded.lab.training import Training


def demo() -> World:
    """Digits over photographs, composed on the spot: minutes on two cores, nothing to download."""
    tuning, honest = (Composed("digits", "honest", 20_000),), (Composed("digits", "test", 10_000, seed=1),)
    natural = {name: (Composed(name, "test", 10_000),) for name in ("other-digits", "grey-digits", "photos")}
    return World(
        name="demo",
        title="digits over photographs (embedded)",
        victim_data=Composed("digits", "victim", 6_000),
        test=Composed("digits", "test", 2_000),
        victim=ConvNet(((16,), (32, 32), (64, 64), (128,))),
        victim_training=Training(epochs=5, batch=64, lr=0.05, schedule="linear"),
        surrogate=ConvNet(((16,), (32,), (64,), (64,))),
        dense=Dense((32,)),
        scale=shared.cpu_scale(
            Training(epochs=6, batch=32, lr=0.05, schedule="linear"),
            Training(epochs=20, batch=32, lr=0.05, schedule="linear"),
        ),
        encoder=shared.contrastive(3, 3),
        tuning=tuning,
        honest=honest,
        natural=natural,
        query_set=Composed("digits", "thief", 5_000),
        query_sets=DEMO_QUERY_SETS,
        close_set="grey-digits",
        pool=Mixed((Composed("digits", "thief", 2_500), Composed("photos", "thief", 2_500))),
        judging=Judging(
            common=tuning,
            heldout=honest,
            natural=natural,
            inside=Composed("digits", "victim", 6_000),
            outside=Composed("photos", "victim", 6_000),
            classifier_training=Training(epochs=3, batch=64, lr=0.05, schedule="linear"),
            vqvae=VqVae(width=32, residual_hidden=16, codes=128, dimension=16),
            vqvae_updates=1_200,
            vqvae_batch=32,
            prior_updates=300,
            seat_pgd=LinfPgd(epsilon=24 / 255, steps=5, relative_step=0.3),
            seat_images=2_000,
            seat_epochs=9,
            defender_training=Training(epochs=4, batch=64, lr=0.05, schedule="linear"),
        ),
        thief=Composed("digits", "thief", 500, seed=7),
        substitute=shared.SUBSTITUTE,
        blinder_training=replace(Blinding().training, batch=16, epochs=5),
        public=Composed("other-digits", "thief", 5_000),
        spread_seeds=(0,),
        adaptive_budget=1_000,
        adaptive_data_free=3_000,
        budget=2_400,
        n_seed_small=100,
        n_seed_large=400,
    )
