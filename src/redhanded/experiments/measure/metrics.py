"""What is measured on a trained clone."""

import torch
from torch import nn

from redhanded.lab.training import predict
from redhanded.lab.types import Images
from redhanded.types import Int


def accuracy(model: nn.Module, images: Images, labels: Int[torch.Tensor, " n"]) -> float:
    """Share of images [n, 3, h, w] that the model puts into their class: extraction accuracy for a clone."""
    return float((predict(model, images).argmax(1) == labels).float().mean())


def agreement(clone: nn.Module, victim: nn.Module, images: Images) -> float:
    """Share of images on which clone and victim predict the same class, right or wrong."""
    return accuracy(clone, images, predict(victim, images).argmax(1))
