"""The similarity encoder, in its two stages."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from redhanded.detectors.base import Encoder
from redhanded.experiments.cells.base import Keyed, deployable, load_encoder, save_model
from redhanded.experiments.cells.datasets import Data, as_floats, as_tensor
from redhanded.experiments.runner.context import Cell, Context
from redhanded.experiments.runner.store import Record
from redhanded.lab.encoders import (
    Contrastive,
    TorchEncoder,
    contrast,
    effective_rank,
    first_axis_share,
    pretrain,
)
from redhanded.lab.models import SimNet
from redhanded.lab.training import Training


@dataclass(frozen=True)
class PretrainEncoder(Keyed):
    """Train the similarity encoder as a classifier: the first stage, which both losses share."""

    world: str
    data: Data
    architecture: SimNet
    training: Training
    seed: int = 0

    version: ClassVar[int] = 2
    resumes: ClassVar[bool] = True
    needs: ClassVar[tuple[Cell, ...]] = ()

    @property
    def label(self) -> str:
        """A readable file name."""
        return f"pretraining-{self.world}-{self.seed}"

    def described(self) -> Record:
        """Return every varied field, flat."""
        return {
            "kind": "training",
            "world": self.world,
            "model": "encoder",
            "stage": "pretraining",
            "architecture": type(self.architecture).__name__,
            "query_set": self.data.name,
            "epochs": self.training.epochs,
            "seed": self.seed,
        }

    def run(self, context: Context) -> Record:
        """Train and save the weights."""
        data = self.data.load()
        with context.reporter(f"{self.label}: training") as progress:
            encoder = pretrain(
                as_tensor(data.images, context.device),
                torch.from_numpy(data.labels).to(context.device),
                self.architecture,
                self.training,
                context.generator(self),
                progress=progress,
                checkpoint=context.checkpoint(self, "pretraining"),
            )
        save_model(encoder, context, self)
        return {"images": len(data)}

    def load(self, context: Context) -> nn.Module:
        """Return the pre-trained encoder."""
        return load_encoder(self.architecture, context, self)


@dataclass(frozen=True)
class TrainEncoder(Keyed):
    """Teach the pre-trained encoder that slight changes do not matter: the second stage."""

    world: str
    data: Data
    probe: Data
    config: Contrastive
    seed: int = 0

    version: ClassVar[int] = 2
    resumes: ClassVar[bool] = True

    @property
    def title(self) -> str:
        """What tells it from the world's other encoders."""
        return self.config.loss

    @property
    def pretraining(self) -> PretrainEncoder:
        """The first stage."""
        return PretrainEncoder(
            self.world, self.data, self.config.architecture, self.config.pretraining, self.seed
        )

    @property
    def needs(self) -> tuple[Cell, ...]:
        """The first stage."""
        return (self.pretraining,)

    @property
    def label(self) -> str:
        """A readable file name."""
        return f"encoder-{self.world}-{self.config.loss}-{self.seed}"

    def described(self) -> Record:
        """Return every varied field, flat."""
        return {
            "kind": "training",
            "world": self.world,
            "model": "encoder",
            "stage": "contrastive",
            "architecture": type(self.config.architecture).__name__,
            "loss": self.config.loss,
            "query_set": self.data.name,
            "epochs": self.config.contrastive.epochs,
            "pretraining_epochs": self.config.pretraining.epochs,
            "seed": self.seed,
        }

    def run(self, context: Context) -> Record:
        """Train, save the weights, and measure how many directions the embedding uses."""
        data = self.data.load()
        encoder = self.pretraining.load(context)
        with context.reporter(f"{self.label}: training") as progress:
            contrast(
                encoder,
                as_tensor(data.images, context.device),
                self.config,
                context.generator(self),
                progress=progress,
                checkpoint=context.checkpoint(self, "contrastive"),
            )
        save_model(encoder, context, self)
        return {"images": len(data)} | encoder_metrics(encoder, self.probe)

    def load(self, context: Context) -> Encoder:
        """Return the encoder: ONNX Runtime on a CPU that has the exporter, PyTorch elsewhere."""
        return deployable(load_encoder(self.config.architecture, context, self), context)


def encoder_metrics(encoder: nn.Module, probe: Data) -> Record:
    """How many directions an embedding uses on the images of a set, and how far they spread."""
    features = TorchEncoder(encoder)(as_floats(probe.load().images))
    return {
        "effective_rank": effective_rank(features),
        "first_axis_share": first_axis_share(features),
        "feature_spread": float(np.sqrt(features.var(axis=0, dtype=np.float64).sum())),
    }
