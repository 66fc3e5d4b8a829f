"""Networks that detectors judge with, beside the similarity encoder: each trained once, each an encoder."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from redhanded.detectors.base import Encoder
from redhanded.experiments.cells.base import (
    Keyed,
    deployable,
    load_encoder,
    load_model,
    one_hot,
    save_model,
)
from redhanded.experiments.cells.datasets import Data, as_tensor
from redhanded.experiments.cells.encoder import PretrainEncoder, TrainEncoder, encoder_metrics
from redhanded.experiments.cells.victim import TrainVictim
from redhanded.experiments.measure.metrics import accuracy
from redhanded.experiments.runner.context import Cell, Context
from redhanded.experiments.runner.store import Record
from redhanded.files import whole
from redhanded.lab.attacks import LinfPgd
from redhanded.lab.encoders.hardness import Hardness, train_with_snapshots
from redhanded.lab.encoders.outliers import LogOdds, train_outlier_classifier
from redhanded.lab.encoders.seat import SEAT_PGD, adversarial_view
from redhanded.lab.encoders.similarity import contrast
from redhanded.lab.models import Architecture, build
from redhanded.lab.training import Training, predict


@dataclass(frozen=True)
class TrainSeat(Keyed):
    """Teach the pre-trained similarity encoder that adversarial examples of the victim lie near (SEAT)."""

    base: TrainEncoder
    victim: TrainVictim
    pgd: LinfPgd = SEAT_PGD
    images: int | None = None
    """How many images of the encoder's data; all of them by default. Each costs the attack's steps."""
    seed: int = 0

    version: ClassVar[int] = 1
    resumes: ClassVar[bool] = True
    title: ClassVar[str] = "seat"

    @property
    def world(self) -> str:
        """The encoder's world."""
        return self.base.world

    @property
    def pretraining(self) -> PretrainEncoder:
        """The first stage, which it shares with the other losses."""
        return self.base.pretraining

    @property
    def needs(self) -> tuple[Cell, ...]:
        """The first stage, and the victim."""
        return (self.pretraining, self.victim)

    @property
    def label(self) -> str:
        """A readable file name."""
        return f"encoder-{self.world}-seat-{self.seed}"

    def described(self) -> Record:
        """Return every varied field, flat."""
        return self.base.described() | {
            "loss": "seat",
            "pgd_steps": self.pgd.steps,
            "pgd_epsilon": self.pgd.epsilon,
            "seed": self.seed,
            "victim_key": self.victim.key,
        }

    def run(self, context: Context) -> Record:
        """Train, save the weights, and measure how many directions the embedding uses."""
        data = self.base.data.load()
        images = as_tensor(data.images[: self.images], context.device)
        encoder = self.pretraining.load(context)
        with context.reporter(f"{self.label}: training") as progress:
            contrast(
                encoder,
                images,
                self.base.config,
                context.generator(self),
                view=adversarial_view(self.victim.load(context), self.pgd),
                progress=progress,
                checkpoint=context.checkpoint(self, "contrastive"),
            )
        save_model(encoder, context, self)
        return {"images": len(images)} | encoder_metrics(encoder, self.base.probe)

    def load(self, context: Context) -> Encoder:
        """Return the encoder: ONNX Runtime on a CPU that has the exporter, PyTorch elsewhere."""
        return deployable(load_encoder(self.base.config.architecture, context, self), context)


@dataclass(frozen=True)
class TrainOutlierClassifier(Keyed):
    """Train a classifier of the victim's data against another set, for the out-of-distribution detector."""

    world: str
    inside: Data
    outside: Data
    test: Data
    architecture: Architecture
    training: Training
    seed: int = 0

    version: ClassVar[int] = 1
    resumes: ClassVar[bool] = True
    needs: ClassVar[tuple[Cell, ...]] = ()

    @property
    def label(self) -> str:
        """A readable file name."""
        return f"outliers-{self.world}-{self.outside.name}-{self.seed}"

    def described(self) -> Record:
        """Return every varied field, flat."""
        return {
            "kind": "training",
            "world": self.world,
            "model": "outlier classifier",
            "architecture": type(self.architecture).__name__,
            "query_set": f"{self.inside.name}, not {self.outside.name}",
            "epochs": self.training.epochs,
            "seed": self.seed,
        }

    def run(self, context: Context) -> Record:
        """Train, save the weights, and measure how often a held-out image of the kind is recognised."""
        inside, outside = self.inside.load(), self.outside.load()
        with context.reporter(f"{self.label}: training") as progress:
            model = train_outlier_classifier(
                self.architecture,
                as_tensor(inside.images, context.device),
                as_tensor(outside.images, context.device),
                self.training,
                context.generator(self),
                progress=progress,
                checkpoint=context.checkpoint(self, "training"),
            )
        save_model(model.classifier, context, self)
        odds = predict(model.eval(), as_tensor(self.test.load().images, context.device))
        return {"images": len(inside) + len(outside), "recognised": float((odds > 0).float().mean())}

    def load(self, context: Context) -> Encoder:
        """Return the log-odds of being in-distribution as an encoder of one feature."""
        return deployable(LogOdds(load_model(self.architecture, 2, context, self)), context)


@dataclass(frozen=True)
class TrainHardness(Keyed):
    """Train a classifier and keep it as it was at several epochs: what settles late is hard (HODA)."""

    world: str
    data: Data
    test: Data
    architecture: Architecture
    training: Training
    snapshots: int = 11
    seed: int = 0

    version: ClassVar[int] = 1
    resumes: ClassVar[bool] = True
    needs: ClassVar[tuple[Cell, ...]] = ()

    @property
    def label(self) -> str:
        """A readable file name."""
        return f"hardness-{self.world}-{self.seed}"

    def described(self) -> Record:
        """Return every varied field, flat."""
        return {
            "kind": "training",
            "world": self.world,
            "model": "hardness",
            "architecture": type(self.architecture).__name__,
            "query_set": self.data.name,
            "epochs": self.training.epochs,
            "snapshots": self.snapshots,
            "seed": self.seed,
        }

    def run(self, context: Context) -> Record:
        """Train, save the weights of every snapshot, and measure accuracy and hardness on the test set."""
        data, test = self.data.load(), self.test.load()
        classes = len(data.classes)
        generator = context.generator(self)
        scratch = context.store.scratch(self)

        def keep(place: int, model: nn.Module) -> None:
            path = scratch / f"snapshot-{place}.safetensors"
            if not path.is_file():  # one that a resumed training hands over again is a later one
                with whole(path) as partial:
                    save_file({k: v.cpu().contiguous() for k, v in model.state_dict().items()}, partial)

        model = build(self.architecture, classes, generator, context.device)
        with context.reporter(f"{self.label}: training") as progress:
            train_with_snapshots(
                model,
                as_tensor(data.images, context.device),
                one_hot(data.labels, classes, context.device),
                self.training,
                generator,
                self.snapshots,
                keep,
                progress=progress,
                checkpoint=context.checkpoint(self, "training"),
            )
        images = as_tensor(test.images, context.device)
        labels = torch.from_numpy(test.labels).to(context.device)
        hardness = predict(Hardness(self._snapshots(scratch, classes, context)).eval(), images)
        counts = np.bincount(hardness[:, 0].long().cpu().numpy(), minlength=self.snapshots)
        return {
            "images": len(data),
            "classes": classes,
            "accuracy": accuracy(model, images, labels),
            "hardness": [int(count) for count in counts],
        }

    def _snapshots(self, folder: Path, classes: int, context: Context) -> list[nn.Module]:
        models = []
        for place in range(self.snapshots):
            model = self.architecture.build(classes)
            model.load_state_dict(load_file(folder / f"snapshot-{place}.safetensors"))
            models.append(model.to(context.device).eval())
        return models

    def load(self, context: Context) -> Encoder:
        """Return the degree of hardness as an encoder of one feature."""
        classes = int(context.record(self)["classes"])
        return deployable(Hardness(self._snapshots(context.artefact(self), classes, context)), context)
