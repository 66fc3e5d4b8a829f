"""Output defences as values: what wraps the victim's probabilities, and the models that some train."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, Protocol, runtime_checkable

import torch
from torch import nn

from redhanded.experiments.cells.base import Part, Titled, Trained, one_hot
from redhanded.experiments.cells.datasets import Data, as_tensor, labelled
from redhanded.experiments.cells.victim import TrainVictim
from redhanded.experiments.measure.metrics import accuracy
from redhanded.experiments.runner.context import Cell, Context
from redhanded.experiments.runner.store import Record
from redhanded.lab.defences import ensemble, mad, misinformation, reverse_sigmoid, truncation
from redhanded.lab.models import Architecture, build
from redhanded.lab.oracles.victim import Probabilities
from redhanded.lab.training import Training, predict
from redhanded.lab.types import Oracle


@runtime_checkable
class Defence(Titled, Protocol):
    """A frozen value that wraps an oracle of probabilities."""

    def wrap(self, oracle: Oracle, context: Context, /) -> Oracle:
        """Return the oracle that is served."""


@dataclass(frozen=True)
class Undefended(Part):
    """Serve probabilities as they are."""

    title: ClassVar[str] = "none"

    def wrap(self, oracle: Oracle, _: Context) -> Oracle:
        return oracle


@dataclass(frozen=True)
class LabelOnly(Part):
    """Serve the predicted class alone."""

    title: ClassVar[str] = "label only"

    def wrap(self, oracle: Oracle, _: Context) -> Oracle:
        return truncation.ArgmaxOf(oracle)


@dataclass(frozen=True)
class Rounding(Part):
    """Serve probabilities to a few decimals."""

    decimals: int = 1

    @property
    def title(self) -> str:
        return f"rounding to {self.decimals}"

    def wrap(self, oracle: Oracle, _: Context) -> Oracle:
        return truncation.Rounded(oracle, self.decimals)


@dataclass(frozen=True)
class Truncation(Part):
    """Serve the largest probabilities, the rest spread evenly."""

    k: int = 1

    @property
    def title(self) -> str:
        return f"top {self.k}"

    def wrap(self, oracle: Oracle, _: Context) -> Oracle:
        return truncation.TopK(oracle, self.k)


@dataclass(frozen=True)
class Sigmoid(Part):
    """Serve reverse-sigmoid perturbed probabilities; strengths of ModelGuard, as the released erase all."""

    beta: float = 0.008
    gamma: float = 0.2
    title: ClassVar[str] = "reverse sigmoid"

    def wrap(self, oracle: Oracle, _: Context) -> Oracle:
        return reverse_sigmoid.ReverseSigmoid(oracle, self.beta, self.gamma)


@dataclass(frozen=True)
class Poisoning(Part):
    """Serve probabilities that turn a thief's gradients (MAD)."""

    proxy: Architecture
    classes: int
    vertices: Literal["extreme", "argmax"] = "extreme"
    epsilon: float = 0.5
    objmax: bool = False

    @property
    def title(self) -> str:
        return f"MAD {self.vertices} {self.epsilon:g}"

    def wrap(self, oracle: Oracle, context: Context) -> Oracle:
        proxy = build(self.proxy, self.classes, torch.Generator().manual_seed(0), context.device).eval()
        return mad.Mad(oracle, proxy, self.epsilon, self.vertices, self.objmax)


@dataclass(frozen=True)
class TrainDefender(Trained):
    """Train the models of Adaptive Misinformation or of an ensemble, with images of another kind beside."""

    victim: TrainVictim
    outside: Data
    architecture: Architecture
    training: Training
    kind: Literal["misinformation", "ensemble"]
    size: int = 5
    seed: int = 0

    @property
    def needs(self) -> tuple[Cell, ...]:
        return ()

    @property
    def world(self) -> str:
        return self.victim.world

    @property
    def label(self) -> str:
        return f"defender-{self.world}-{self.kind}-{self.seed}"

    def described(self) -> Record:
        sets = f"{self.victim.data.name}, not {self.outside.name}"
        return self.training_record(self.kind, sets, self.architecture, epochs=self.training.epochs)

    def run(self, context: Context) -> Record:
        """Train, save the weights, and measure each model's accuracy and confidence on the test set."""
        data, generator = self.victim.data.load(), context.generator(self)
        classes = len(data.classes)
        images = as_tensor(data.images, context.device)
        labels = one_hot(data.labels, classes, context.device)
        outliers = as_tensor(self.outside.load().images, context.device)
        new = partial(build, self.architecture, classes, generator, context.device)
        method: Callable[..., tuple[nn.Module, ...]] = misinformation.train_misinformation
        if self.kind == "ensemble":
            method = partial(ensemble.train_ensemble, size=self.size)
        step = partial(method, new, images, labels, outliers, generator, config=self.training)
        models = self.train(step, context)
        self.save_model(nn.ModuleList(models), context)
        known, truth = labelled(self.victim.test.load(), context.device)
        confidence = predict(models[0], known).softmax(1).amax(1)
        return {
            "images": len(data),
            "classes": classes,
            "member_accuracy": [accuracy(model, known, truth) for model in models],
            "confidence_5_percent": float(confidence.quantile(0.05)),
        }

    def load(self, context: Context) -> tuple[nn.Module, ...]:
        classes = int(context.record(self)["classes"])
        count = 2 if self.kind == "misinformation" else self.size
        models = nn.ModuleList(self.architecture.build(classes) for _ in range(count))
        return tuple(self.load_model(models, context))


@dataclass(frozen=True)
class Misinformation(Part):
    """Serve a misleading model where an honest one is unsure: below the confidence of 95% of test images."""

    defender: TrainDefender
    title: ClassVar[str] = "adaptive misinformation"

    def wrap(self, _: Oracle, context: Context) -> Oracle:
        """Replace the victim itself, as in the source."""
        honest, misleading = self.defender.load(context)
        tau = float(context.record(self.defender)["confidence_5_percent"])
        return misinformation.AdaptiveMisinformation(Probabilities(honest), Probabilities(misleading), tau)


@dataclass(frozen=True)
class Ensemble(Part):
    """Serve one of several models, which a secret picks by the image."""

    defender: TrainDefender
    title: ClassVar[str] = "diverse ensemble"

    def wrap(self, _: Oracle, context: Context) -> Oracle:
        """Replace the victim itself, as in the source."""
        members = tuple(Probabilities(member) for member in self.defender.load(context))
        return ensemble.DiverseEnsemble(members, self.defender.key[:32].encode())
