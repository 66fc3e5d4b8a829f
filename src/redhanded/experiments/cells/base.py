"""What every cell has: a key, needs, and weights on disk."""

from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from redhanded.detectors.base import Encoder
from redhanded.experiments.cells.datasets import as_tensor
from redhanded.experiments.runner.context import Cell, Context
from redhanded.experiments.runner.keys import key_of
from redhanded.experiments.runner.store import Record
from redhanded.files import whole
from redhanded.lab.data.images import ImageSet
from redhanded.lab.encoders.embed import TorchEncoder, export_onnx
from redhanded.lab.models import Architecture, build
from redhanded.lab.training import Training, train_classifier

MODEL = "model.safetensors"

T = TypeVar("T")
N = TypeVar("N", bound=nn.Module)


@runtime_checkable
class Seeded(Protocol):
    """What every training has."""

    @property
    def world(self) -> str: ...

    @property
    def seed(self) -> int: ...


@runtime_checkable
class Titled(Protocol):
    """A frozen value whose title tells it from the others of its kind in file names and tables."""

    @property
    def title(self) -> str: ...

    @property
    def needs(self) -> tuple[Cell, ...]: ...


class Part:
    """A frozen dataclass that needs the cells among its fields, and what the parts among them need."""

    @property
    def needs(self) -> tuple[Cell, ...]:
        found: list[Cell] = []
        for value in vars(self).values():
            if isinstance(value, Keyed):
                found.append(value)
            elif isinstance(value, Part):
                found += value.needs
        return tuple(found)


class Keyed(Part, Cell):
    """A cell whose key is the hash of its canonical JSON; `version` is 1 until its behaviour changes."""

    @cached_property
    def key(self) -> str:
        return key_of(self)

    @property
    def resumes(self) -> bool:
        return False

    def save_model(self, model: nn.Module, context: Context) -> None:
        save_weights(model, context.store.scratch(self) / MODEL)

    def load_model(self, model: N, context: Context) -> N:
        """Return the network with the cell's weights, on the device and ready to predict."""
        return load_weights(model, context.artefact(self) / MODEL, context.device).eval()


class Trained(Keyed):
    """A cell that trains networks, and goes on from their checkpoints."""

    @property
    def resumes(self) -> bool:
        return True

    def train(self, step: Callable[..., T], context: Context, stage: str = "training") -> T:
        """Take a step that reports its progress and resumes from the checkpoint of a stage."""
        with context.reporter(f"{self.label}: training") as progress:
            return step(progress=progress, checkpoint=context.checkpoint(self, stage))

    def classifier(
        self, data: ImageSet, architecture: Architecture, training: Training, context: Context
    ) -> nn.Module:
        """Train a classifier on a labelled set, and save its weights."""
        classes = len(data.classes)
        generator = context.generator(self)
        model = build(architecture, classes, generator, context.device)
        images, labels = as_tensor(data.images, context.device), one_hot(data.labels, classes, context.device)
        self.train(partial(train_classifier, model, images, labels, training, generator), context)
        self.save_model(model, context)
        return model

    def training_record(
        self: Seeded, model: str, query_set: str, architecture: Architecture | None = None, **varied: Any
    ) -> Record:
        """Return what the record of a training says, and what else of it varies."""
        named = {} if architecture is None else {"architecture": type(architecture).__name__}
        training = {"kind": "training", "world": self.world, "model": model, "query_set": query_set}
        return training | {"seed": self.seed} | named | varied


def one_hot(labels: np.ndarray, classes: int, device: torch.device) -> torch.Tensor:
    """Labels [n] to rows [n, classes] on the device."""
    return torch.nn.functional.one_hot(torch.from_numpy(labels), classes).float().to(device)


def save_weights(model: nn.Module, path: Path) -> None:
    weights = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    with whole(path) as partial:
        save_file(weights, partial)


def load_weights(model: N, path: Path, device: torch.device) -> N:
    model.load_state_dict(load_file(path))
    return model.to(device)


def deployable(network: nn.Module, context: Context) -> Encoder:
    """Return a network as an encoder: ONNX Runtime on a CPU that has the exporter, PyTorch elsewhere."""
    if context.device.type == "cpu" and has_exporter():
        return export_onnx(network)
    return TorchEncoder(network)


def has_exporter() -> bool:
    from importlib.util import find_spec

    return all(find_spec(name) is not None for name in ("onnx", "onnxscript", "onnxruntime"))
