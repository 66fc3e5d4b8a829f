"""Networks that detectors judge with, beside the similarity encoder: each trained once, each an encoder."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from torch import nn

from redhanded.detectors.base import Encoder
from redhanded.experiments.cells import base
from redhanded.experiments.cells.datasets import Data, as_tensor, labelled
from redhanded.experiments.cells.encoder import TrainEncoder, encoder_metrics
from redhanded.experiments.cells.victim import TrainVictim
from redhanded.experiments.measure.metrics import accuracy
from redhanded.experiments.runner.context import Cell, Context
from redhanded.experiments.runner.store import Record
from redhanded.lab.attacks import LinfPgd
from redhanded.lab.encoders.hardness import Hardness, train_with_snapshots
from redhanded.lab.encoders.outliers import LogOdds, train_outlier_classifier
from redhanded.lab.encoders.seat import SEAT_PGD, adversarial_view
from redhanded.lab.encoders.similarity import contrast
from redhanded.lab.models import Architecture, build
from redhanded.lab.training import Training, predict


@dataclass(frozen=True)
class TrainSeat(base.Trained):
    """Teach the pre-trained similarity encoder that adversarial examples of the victim lie near (SEAT)."""

    base: TrainEncoder
    victim: TrainVictim
    pgd: LinfPgd = SEAT_PGD
    images: int | None = None
    """How many images of the encoder's data; all of them by default. Each costs the attack's steps."""
    seed: int = 0

    title: ClassVar[str] = "seat"

    @property
    def world(self) -> str:
        return self.base.world

    @property
    def needs(self) -> tuple[Cell, ...]:
        return (self.base.pretraining, self.victim)

    @property
    def label(self) -> str:
        return f"encoder-{self.world}-seat-{self.seed}"

    def described(self) -> Record:
        return self.base.described() | {
            "loss": "seat",
            "pgd_steps": self.pgd.steps,
            "pgd_epsilon": self.pgd.epsilon,
            "seed": self.seed,
            "victim_key": self.victim.key,
        }

    def run(self, context: Context) -> Record:
        """Train, save the weights, and measure how many directions the embedding uses."""
        images = as_tensor(self.base.data.load().images[: self.images], context.device)
        encoder = self.base.pretraining.load(context)
        view = adversarial_view(self.victim.load(context), self.pgd)
        step = partial(contrast, encoder, images, self.base.config, context.generator(self), view=view)
        self.train(step, context, "contrastive")
        self.save_model(encoder, context)
        return {"images": len(images)} | encoder_metrics(encoder, self.base.probe)

    def load(self, context: Context) -> Encoder:
        return base.deployable(self.load_model(self.base.config.architecture.trunk(), context), context)


@dataclass(frozen=True)
class TrainOutlierClassifier(base.Trained):
    """Train a classifier of the victim's data against another set, for the out-of-distribution detector."""

    world: str
    inside: Data
    outside: Data
    test: Data
    architecture: Architecture
    training: Training
    seed: int = 0

    @property
    def label(self) -> str:
        return f"outliers-{self.world}-{self.outside.name}-{self.seed}"

    def described(self) -> Record:
        sets, epochs = f"{self.inside.name}, not {self.outside.name}", self.training.epochs
        return self.training_record("outlier classifier", sets, self.architecture, epochs=epochs)

    def run(self, context: Context) -> Record:
        """Train, save the weights, and measure how often a held-out image of the kind is recognised."""
        inside, outside, test = (
            as_tensor(data.load().images, context.device) for data in (self.inside, self.outside, self.test)
        )
        classified = (self.architecture, inside, outside, self.training, context.generator(self))
        model = self.train(partial(train_outlier_classifier, *classified), context)
        self.save_model(model.classifier, context)
        odds = predict(model.eval(), test)
        return {"images": len(inside) + len(outside), "recognised": float((odds > 0).float().mean())}

    def load(self, context: Context) -> Encoder:
        """Return the log-odds of being in-distribution as an encoder of one feature."""
        return base.deployable(LogOdds(self.load_model(self.architecture.build(2), context)), context)


@dataclass(frozen=True)
class TrainHardness(base.Trained):
    """Train a classifier and keep it as it was at several epochs: what settles late is hard (HODA)."""

    world: str
    data: Data
    test: Data
    architecture: Architecture
    training: Training
    snapshots: int = 11
    seed: int = 0

    @property
    def label(self) -> str:
        return f"hardness-{self.world}-{self.seed}"

    def described(self) -> Record:
        return self.training_record(
            "hardness",
            self.data.name,
            self.architecture,
            epochs=self.training.epochs,
            snapshots=self.snapshots,
        )

    def run(self, context: Context) -> Record:
        """Train, save the weights of every snapshot, and measure accuracy and hardness on the test set."""
        data, device = self.data.load(), context.device
        classes, generator = len(data.classes), context.generator(self)
        scratch = context.store.scratch(self)

        def keep(place: int, model: nn.Module) -> None:
            path = _snapshot(scratch, place)
            if not path.is_file():  # one that a resumed training hands over again is a later one
                base.save_weights(model, path)

        model = build(self.architecture, classes, generator, device)
        given = as_tensor(data.images, device), base.one_hot(data.labels, classes, device), self.training
        step = partial(train_with_snapshots, model, *given, generator, self.snapshots, keep)
        self.train(step, context)
        images, labels = labelled(self.test.load(), device)
        hardness = predict(Hardness(self._snapshots(scratch, classes, context)).eval(), images)
        counts = np.bincount(hardness[:, 0].long().cpu().numpy(), minlength=self.snapshots)
        return {
            "images": len(data),
            "classes": classes,
            "accuracy": accuracy(model, images, labels),
            "hardness": counts.tolist(),
        }

    def _snapshots(self, folder: Path, classes: int, context: Context) -> list[nn.Module]:
        paths = [_snapshot(folder, place) for place in range(self.snapshots)]
        new = partial(self.architecture.build, classes)
        return [base.load_weights(new(), path, context.device).eval() for path in paths]

    def load(self, context: Context) -> Encoder:
        """Return the degree of hardness as an encoder of one feature."""
        classes = int(context.record(self)["classes"])
        return base.deployable(Hardness(self._snapshots(context.artefact(self), classes, context)), context)


def _snapshot(folder: Path, place: int) -> Path:
    return folder / f"snapshot-{place}.safetensors"
