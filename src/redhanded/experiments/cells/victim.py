"""The model that will be stolen, or guarded."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from redhanded.experiments.cells.base import Keyed, classifier, load_model
from redhanded.experiments.cells.datasets import Data, as_tensor
from redhanded.experiments.measure.metrics import accuracy
from redhanded.experiments.runner.context import Cell, Context
from redhanded.experiments.runner.store import Record
from redhanded.lab.models import Architecture
from redhanded.lab.training import Training


@dataclass(frozen=True)
class TrainVictim(Keyed):
    """Train the model that will be stolen, or guarded."""

    world: str
    data: Data
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
        return f"victim-{self.world}-{self.seed}"

    def described(self) -> Record:
        """Return every varied field, flat."""
        return {
            "kind": "training",
            "world": self.world,
            "model": "victim",
            "architecture": type(self.architecture).__name__,
            "query_set": self.data.name,
            "epochs": self.training.epochs,
            "seed": self.seed,
        }

    def run(self, context: Context) -> Record:
        """Train, save the weights, and measure the test accuracy."""
        data, test = self.data.load(), self.test.load()
        classes = len(data.classes)
        model = classifier(self, data, self.architecture, self.training, context)
        found = accuracy(
            model, as_tensor(test.images, context.device), torch.from_numpy(test.labels).to(context.device)
        )
        return {"accuracy": found, "images": len(data), "classes": classes}

    def load(self, context: Context) -> nn.Module:
        """Return the trained victim."""
        return load_model(self.architecture, int(context.record(self)["classes"]), context, self)
