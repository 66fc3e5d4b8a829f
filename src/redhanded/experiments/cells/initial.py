"""What a surrogate starts from: ImageNet's weights, or those of a public set trained here once."""

from dataclasses import dataclass

import torch
from safetensors.torch import load_file

from redhanded.experiments.cells.base import MODEL, Trained
from redhanded.experiments.cells.datasets import Data
from redhanded.experiments.runner.context import Context
from redhanded.experiments.runner.store import Record
from redhanded.lab.initialisation import Weights, imagenet_vgg16_bn
from redhanded.lab.models import Architecture, build
from redhanded.lab.training import Training


@dataclass(frozen=True)
class ImagenetWeights:
    """torchvision's weights of VGG16-BN, as the paper's surrogates have; fetched when first needed."""

    architecture: Architecture

    @property
    def name(self) -> str:
        return "imagenet"

    def load(self, context: Context) -> Weights:
        return imagenet_vgg16_bn(build(self.architecture, 10, torch.Generator(), context.device))


@dataclass(frozen=True)
class PublicWeights(Trained):
    """Train the surrogate's architecture once on a public set that is neither victim's nor thief's.

    For machines that cannot fetch ImageNet's weights; named in every record that uses it.
    """

    world: str
    data: Data
    architecture: Architecture
    training: Training
    seed: int = 0

    @property
    def name(self) -> str:
        return f"public ({self.data.name})"

    @property
    def label(self) -> str:
        return f"public-{self.world}-{self.data.name}-{self.seed}"

    def described(self) -> Record:
        return self.training_record(
            "surrogate", self.data.name, self.architecture, epochs=self.training.epochs
        )

    def run(self, context: Context) -> Record:
        data = self.data.load()
        self.classifier(data, self.architecture, self.training, context)
        return {"images": len(data), "classes": len(data.classes)}

    def load(self, context: Context) -> Weights:
        return load_file(context.artefact(self) / MODEL)
