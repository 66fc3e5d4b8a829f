"""What every cell has: a key, and weights on disk."""

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from redhanded.detectors.base import Encoder
from redhanded.experiments.cells.datasets import as_tensor
from redhanded.experiments.runner.context import Cell, Context
from redhanded.experiments.runner.keys import key_of
from redhanded.files import whole
from redhanded.lab.data.images import ImageSet
from redhanded.lab.encoders import TorchEncoder, export_onnx
from redhanded.lab.models import Architecture, SimNet, build
from redhanded.lab.training import Training, train_classifier

MODEL = "model.safetensors"


class Keyed:
    """A frozen dataclass whose key is the hash of its canonical JSON."""

    @property
    def key(self) -> str:
        """Hash of everything that can move the result."""
        return key_of(self)


def one_hot(labels: np.ndarray, classes: int, device: torch.device) -> torch.Tensor:
    """Labels [n] to rows [n, classes] on the device."""
    return torch.nn.functional.one_hot(torch.from_numpy(labels), classes).float().to(device)


def save_model(model: nn.Module, context: Context, cell: Cell) -> None:
    """Write the weights to the cell's scratch folder."""
    weights = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    with whole(context.store.scratch(cell) / MODEL) as partial:
        save_file(weights, partial)


def classifier(
    cell: Cell, data: ImageSet, architecture: Architecture, training: Training, context: Context
) -> nn.Module:
    """Train the cell's classifier on a labelled set, resuming from its checkpoint, and save its weights."""
    classes = len(data.classes)
    generator = context.generator(cell)
    model = build(architecture, classes, generator, context.device)
    with context.reporter(f"{cell.label}: training") as progress:
        train_classifier(
            model,
            as_tensor(data.images, context.device),
            one_hot(data.labels, classes, context.device),
            training,
            generator,
            progress=progress,
            checkpoint=context.checkpoint(cell, "training"),
        )
    save_model(model, context, cell)
    return model


def load_model(architecture: Architecture, classes: int, context: Context, cell: Cell) -> nn.Module:
    """Return the cell's model, ready to predict."""
    model = architecture.build(classes)
    model.load_state_dict(load_file(context.artefact(cell) / MODEL))
    return model.to(context.device).eval()


def load_encoder(architecture: SimNet, context: Context, cell: Cell) -> nn.Module:
    """Return the cell's encoder without a head."""
    network = architecture.trunk()
    network.load_state_dict(load_file(context.artefact(cell) / MODEL))
    return network.to(context.device)


def deployable(network: nn.Module, context: Context) -> Encoder:
    """Return a network as an encoder: ONNX Runtime on a CPU that has the exporter, PyTorch elsewhere."""
    if context.device.type == "cpu" and has_exporter():
        return export_onnx(network)
    return TorchEncoder(network)


def has_exporter() -> bool:
    """Whether ONNX Runtime and what exports to it are here."""
    from importlib.util import find_spec

    return all(find_spec(name) is not None for name in ("onnx", "onnxscript", "onnxruntime"))
