"""Output defences as values: what wraps the victim's probabilities, and the models that some train."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, Protocol, runtime_checkable

import torch
from safetensors.torch import load_file
from torch import nn

from redhanded.experiments.cells.base import MODEL, Keyed, one_hot, save_model
from redhanded.experiments.cells.datasets import Data, as_tensor
from redhanded.experiments.cells.victim import TrainVictim
from redhanded.experiments.measure.metrics import accuracy
from redhanded.experiments.runner.context import Cell, Context
from redhanded.experiments.runner.store import Record
from redhanded.lab.defences import (
    AdaptiveMisinformation,
    ArgmaxOf,
    DiverseEnsemble,
    Mad,
    ReverseSigmoid,
    Rounded,
    TopK,
    train_ensemble,
    train_misinformation,
)
from redhanded.lab.models import Architecture, build
from redhanded.lab.oracles.victim import Probabilities
from redhanded.lab.training import Training, predict
from redhanded.lab.types import Oracle


@runtime_checkable
class Defence(Protocol):
    """A frozen value that wraps an oracle of probabilities."""

    @property
    def title(self) -> str:
        """What tells it from the others in file names and tables."""
        ...

    @property
    def needs(self) -> tuple[Cell, ...]: ...

    def wrap(self, oracle: Oracle, context: Context) -> Oracle:
        """Return the oracle that is served."""
        ...


@dataclass(frozen=True)
class Undefended:
    """Serve probabilities as they are."""

    title: ClassVar[str] = "none"
    needs: ClassVar[tuple[Cell, ...]] = ()

    def wrap(self, oracle: Oracle, context: Context) -> Oracle:
        """Return the oracle itself."""
        del context
        return oracle


@dataclass(frozen=True)
class LabelOnly:
    """Serve the predicted class alone."""

    title: ClassVar[str] = "label only"
    needs: ClassVar[tuple[Cell, ...]] = ()

    def wrap(self, oracle: Oracle, context: Context) -> Oracle:
        """Return one-hot answers."""
        del context
        return ArgmaxOf(oracle)


@dataclass(frozen=True)
class Rounding:
    """Serve probabilities to a few decimals."""

    decimals: int = 1
    needs: ClassVar[tuple[Cell, ...]] = ()

    @property
    def title(self) -> str:
        """How many decimals."""
        return f"rounding to {self.decimals}"

    def wrap(self, oracle: Oracle, context: Context) -> Oracle:
        """Return rounded answers."""
        del context
        return Rounded(oracle, self.decimals)


@dataclass(frozen=True)
class Truncation:
    """Serve the largest probabilities, the rest spread evenly."""

    k: int = 1
    needs: ClassVar[tuple[Cell, ...]] = ()

    @property
    def title(self) -> str:
        """How many classes."""
        return f"top {self.k}"

    def wrap(self, oracle: Oracle, context: Context) -> Oracle:
        """Return truncated answers."""
        del context
        return TopK(oracle, self.k)


@dataclass(frozen=True)
class Sigmoid:
    """Serve reverse-sigmoid perturbed probabilities; strengths of ModelGuard, as the released erase all."""

    beta: float = 0.008
    gamma: float = 0.2
    title: ClassVar[str] = "reverse sigmoid"
    needs: ClassVar[tuple[Cell, ...]] = ()

    def wrap(self, oracle: Oracle, context: Context) -> Oracle:
        """Return perturbed answers."""
        del context
        return ReverseSigmoid(oracle, self.beta, self.gamma)


@dataclass(frozen=True)
class Poisoning:
    """Serve probabilities that turn a thief's gradients (MAD)."""

    proxy: Architecture
    classes: int
    vertices: Literal["extreme", "argmax"] = "extreme"
    epsilon: float = 0.5
    objmax: bool = False
    needs: ClassVar[tuple[Cell, ...]] = ()

    @property
    def title(self) -> str:
        """Which vertices, and how far."""
        return f"MAD {self.vertices} {self.epsilon:g}"

    def wrap(self, oracle: Oracle, context: Context) -> Oracle:
        """Return poisoned answers; the proxy's weights are drawn here."""
        proxy = build(self.proxy, self.classes, torch.Generator().manual_seed(0), context.device).eval()
        return Mad(oracle, proxy, self.epsilon, self.vertices, self.objmax)


@dataclass(frozen=True)
class TrainDefender(Keyed):
    """Train the models of Adaptive Misinformation or of an ensemble, with images of another kind beside."""

    victim: TrainVictim
    outside: Data
    architecture: Architecture
    training: Training
    kind: Literal["misinformation", "ensemble"]
    size: int = 5
    seed: int = 0

    version: ClassVar[int] = 1
    resumes: ClassVar[bool] = True
    needs: ClassVar[tuple[Cell, ...]] = ()

    @property
    def world(self) -> str:
        """The victim's world."""
        return self.victim.world

    @property
    def label(self) -> str:
        """A readable file name."""
        return f"defender-{self.world}-{self.kind}-{self.seed}"

    def described(self) -> Record:
        """Return every varied field, flat."""
        return {
            "kind": "training",
            "world": self.world,
            "model": self.kind,
            "architecture": type(self.architecture).__name__,
            "query_set": f"{self.victim.data.name}, not {self.outside.name}",
            "epochs": self.training.epochs,
            "seed": self.seed,
        }

    def run(self, context: Context) -> Record:
        """Train, save the weights, and measure each model's accuracy and confidence on the test set."""
        data, generator = self.victim.data.load(), context.generator(self)
        classes = len(data.classes)
        images = as_tensor(data.images, context.device)
        labels = one_hot(data.labels, classes, context.device)
        outliers = as_tensor(self.outside.load().images, context.device)
        new = partial(build, self.architecture, classes, generator, context.device)
        with context.reporter(f"{self.label}: training") as progress:
            checkpoint = context.checkpoint(self, "training")
            if self.kind == "misinformation":
                models: tuple[nn.Module, ...] = train_misinformation(
                    new, images, labels, outliers, generator,
                    config=self.training, progress=progress, checkpoint=checkpoint,
                )  # fmt: skip
            else:
                models = train_ensemble(
                    new, images, labels, outliers, generator,
                    size=self.size, config=self.training, progress=progress, checkpoint=checkpoint,
                )  # fmt: skip
        save_model(nn.ModuleList(models), context, self)
        test = self.victim.test.load()
        known = as_tensor(test.images, context.device)
        truth = torch.from_numpy(test.labels).to(context.device)
        confidence = predict(models[0], known).softmax(1).amax(1)
        return {
            "images": len(data),
            "classes": classes,
            "member_accuracy": [accuracy(model, known, truth) for model in models],
            "confidence_5_percent": float(confidence.quantile(0.05)),
        }

    def load(self, context: Context) -> tuple[nn.Module, ...]:
        """Return the models."""
        classes = int(context.record(self)["classes"])
        count = 2 if self.kind == "misinformation" else self.size
        models = nn.ModuleList(self.architecture.build(classes) for _ in range(count))
        models.load_state_dict(load_file(context.artefact(self) / MODEL))
        return tuple(models.to(context.device).eval())


@dataclass(frozen=True)
class Misinformation:
    """Serve a misleading model where an honest one is unsure: below the confidence of 95% of test images."""

    defender: TrainDefender
    title: ClassVar[str] = "adaptive misinformation"

    @property
    def needs(self) -> tuple[Cell, ...]:
        """Both models."""
        return (self.defender,)

    def wrap(self, oracle: Oracle, context: Context) -> Oracle:
        """Return the defender's answers; the victim itself is replaced, as in the source."""
        del oracle
        honest, misleading = self.defender.load(context)
        tau = float(context.record(self.defender)["confidence_5_percent"])
        return AdaptiveMisinformation(Probabilities(honest), Probabilities(misleading), tau)


@dataclass(frozen=True)
class Ensemble:
    """Serve one of several models, which a secret picks by the image."""

    defender: TrainDefender
    title: ClassVar[str] = "diverse ensemble"

    @property
    def needs(self) -> tuple[Cell, ...]:
        """The members."""
        return (self.defender,)

    def wrap(self, oracle: Oracle, context: Context) -> Oracle:
        """Return the ensemble's answers; the victim itself is replaced, as in the source."""
        del oracle
        members = tuple(Probabilities(member) for member in self.defender.load(context))
        return DiverseEnsemble(members, self.defender.key[:32].encode())
