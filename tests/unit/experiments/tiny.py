"""The demo world in seconds: every network barely trained, every stream short."""

from dataclasses import replace

from redhanded.experiments.cells.datasets import Composed
from redhanded.experiments.worlds.demo import demo
from redhanded.experiments.worlds.world import World
from redhanded.lab.attacks import LinfPgd
from redhanded.lab.encoders.similarity import Contrastive
from redhanded.lab.encoders.vqvae import VqVae
from redhanded.lab.models import ConvNet
from redhanded.lab.training import Training

ONCE = Training(epochs=1, batch=32, optimiser="adam", lr=1e-3, weight_decay=0.0, schedule="linear")


def tiny() -> World:
    world = demo()
    digits = Composed("digits", "victim", 240)
    judging = replace(
        world.judging,
        common=(Composed("digits", "honest", 400),),
        heldout=(Composed("digits", "test", 120, seed=1),),
        natural={"photos": (Composed("photos", "test", 120),)},
        inside=digits,
        outside=Composed("photos", "victim", 200),
        classifier_training=ONCE,
        vqvae=VqVae(width=8, residual_hidden=4, codes=16, dimension=4),
        vqvae_updates=40,
        vqvae_batch=8,
        prior_updates=4,
        seat_pgd=LinfPgd(epsilon=0.1, steps=2),
        seat_images=64,
        defender_training=ONCE,
    )
    brief = replace(world.scale, round_training=ONCE, final_training=ONCE)
    return replace(
        world,
        victim_data=digits,
        test=Composed("digits", "test", 100),
        victim=ConvNet(((4,), (8,))),
        victim_training=ONCE,
        surrogate=ConvNet(((4,), (8,))),
        scale=brief,
        encoder=Contrastive(pretraining=ONCE, contrastive=ONCE),
        judging=judging,
        budget=90,
        adaptive_budget=None,
        n_seed_large=30,
        n_seed_small=30,
        thief=Composed("digits", "thief", 220, seed=7),
        blinder_training=ONCE,
        substitute=Contrastive(pretraining=ONCE, contrastive=ONCE),
    )
