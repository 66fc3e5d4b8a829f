"""What the benchmarks of attacks work on."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from redhanded.experiments.cells.datasets import Composed, as_tensor
from redhanded.experiments.worlds.demo import demo
from redhanded.lab.models import build
from redhanded.lab.training import train_classifier


def trained(epochs: int) -> tuple[nn.Module, Tensor, Tensor]:
    """Train the demo world's surrogate on its victim's images; return it with test images and labels."""
    world = demo()
    generator = torch.Generator().manual_seed(0)
    model = build(world.surrogate, 10, generator)
    known = world.victim_data.load()
    labels = torch.eye(10)[torch.from_numpy(known.labels)]
    training = replace(world.victim_training, epochs=epochs)
    train_classifier(model, as_tensor(known.images), labels, training, generator)
    test = Composed("digits", "test", 512).load()
    return model, as_tensor(test.images), torch.from_numpy(test.labels)
