"""The model that will be stolen, or guarded."""

from dataclasses import dataclass

from torch import nn

from redhanded.experiments.cells.base import Trained
from redhanded.experiments.cells.datasets import Data, labelled
from redhanded.experiments.measure.metrics import accuracy
from redhanded.experiments.runner.context import Context
from redhanded.experiments.runner.store import Record
from redhanded.lab.models import Architecture
from redhanded.lab.training import Training


@dataclass(frozen=True)
class TrainVictim(Trained):
    """Train the model that will be stolen, or guarded."""

    world: str
    data: Data
    test: Data
    architecture: Architecture
    training: Training
    seed: int = 0

    @property
    def label(self) -> str:
        return f"victim-{self.world}-{self.seed}"

    def described(self) -> Record:
        return self.training_record("victim", self.data.name, self.architecture, epochs=self.training.epochs)

    def run(self, context: Context) -> Record:
        """Train, save the weights, and measure the test accuracy."""
        data = self.data.load()
        model = self.classifier(data, self.architecture, self.training, context)
        found = accuracy(model, *labelled(self.test.load(), context.device))
        return {"accuracy": found, "images": len(data), "classes": len(data.classes)}

    def load(self, context: Context) -> nn.Module:
        return self.load_model(self.architecture.build(int(context.record(self)["classes"])), context)
