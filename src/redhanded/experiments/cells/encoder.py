"""The similarity encoder, in its two stages."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
from torch import nn

from redhanded.detectors.base import Encoder
from redhanded.experiments.cells.base import Trained, deployable
from redhanded.experiments.cells.datasets import Data, as_floats, as_tensor, labelled
from redhanded.experiments.runner.context import Cell, Context
from redhanded.experiments.runner.store import Record
from redhanded.lab.encoders import embed, similarity
from redhanded.lab.models import SimNet
from redhanded.lab.training import Training


@dataclass(frozen=True)
class PretrainEncoder(Trained):
    """Train the similarity encoder as a classifier: the first stage, which both losses share."""

    world: str
    data: Data
    architecture: SimNet
    training: Training
    seed: int = 0

    version: ClassVar[int] = 2

    @property
    def label(self) -> str:
        return f"pretraining-{self.world}-{self.seed}"

    def described(self) -> Record:
        return self.training_record(
            "encoder", self.data.name, self.architecture, stage="pretraining", epochs=self.training.epochs
        )

    def run(self, context: Context) -> Record:
        data = self.data.load()
        images, labels = labelled(data, context.device)
        config = (self.architecture, self.training)
        step = partial(similarity.pretrain, images, labels, *config, context.generator(self))
        encoder = self.train(step, context, "pretraining")
        self.save_model(encoder, context)
        return {"images": len(data)}

    def load(self, context: Context) -> nn.Module:
        return self.load_model(self.architecture.trunk(), context)


@dataclass(frozen=True)
class TrainEncoder(Trained):
    """Teach the pre-trained encoder that slight changes do not matter: the second stage."""

    world: str
    data: Data
    probe: Data
    config: similarity.Contrastive
    seed: int = 0

    version: ClassVar[int] = 2

    @property
    def title(self) -> str:
        return self.config.loss

    @property
    def pretraining(self) -> PretrainEncoder:
        return PretrainEncoder(
            self.world, self.data, self.config.architecture, self.config.pretraining, self.seed
        )

    @property
    def needs(self) -> tuple[Cell, ...]:
        return (self.pretraining,)

    @property
    def label(self) -> str:
        return f"encoder-{self.world}-{self.config.loss}-{self.seed}"

    def described(self) -> Record:
        config = self.config
        epochs = {"epochs": config.contrastive.epochs, "pretraining_epochs": config.pretraining.epochs}
        return self.training_record(
            "encoder", self.data.name, config.architecture, stage="contrastive", loss=config.loss, **epochs
        )

    def run(self, context: Context) -> Record:
        """Train, save the weights, and measure how many directions the embedding uses."""
        images = as_tensor(self.data.load().images, context.device)
        encoder = self.pretraining.load(context)
        step = partial(similarity.contrast, encoder, images, self.config, context.generator(self))
        self.train(step, context, "contrastive")
        self.save_model(encoder, context)
        return {"images": len(images)} | encoder_metrics(encoder, self.probe)

    def load(self, context: Context) -> Encoder:
        return deployable(self.load_model(self.config.architecture.trunk(), context), context)


def encoder_metrics(encoder: nn.Module, probe: Data) -> Record:
    """How many directions an embedding uses on the images of a set, and how far they spread."""
    features = embed.TorchEncoder(encoder)(as_floats(probe.load().images))
    return {
        "effective_rank": embed.effective_rank(features),
        "first_axis_share": embed.first_axis_share(features),
        "feature_spread": float(np.sqrt(features.var(axis=0, dtype=np.float64).sum())),
    }
