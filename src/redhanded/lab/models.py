"""The classifiers and encoders of the paper, and small ones for a CPU. Each normalises its own input."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from redhanded.lab.types import Images

CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2023, 0.1994, 0.2010)


@contextmanager
def seeded(generator: torch.Generator) -> Iterator[None]:
    """Run PyTorch's global randomness (initialisation, dropout) from a passed generator, then restore it."""
    seed = int(torch.randint(2**62, (), generator=generator))
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


class Normalise(nn.Module):
    """Standardise [0, 1] pixels per channel; the statistics travel with the weights."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, mean: tuple[float, float, float] = CIFAR10_MEAN, std: tuple[float, float, float] = CIFAR10_STD
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, images: Images) -> Tensor:
        return (images - self.mean) / self.std


@runtime_checkable
class Architecture(Protocol):
    """A model's shape as a value: printable, hashable, part of a cell's key."""

    def build(self, outputs: int) -> nn.Module:
        """Return an untrained model, images [n, 3, 32, 32] in [0, 1] to [n, outputs]."""
        ...


def _conv_bn(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]


def _stage(inputs: int, widths: tuple[int, ...]) -> list[nn.Module]:
    return [layer for channels in pairwise((inputs, *widths)) for layer in _conv_bn(*channels)]


def _channels_last(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


@dataclass(frozen=True)
class ConvNet:
    """Stages of 3x3 convolutions with batch norm, halving the image between stages, then global average.

    `stages` lists the channels of each stage's convolutions.
    """

    stages: tuple[tuple[int, ...], ...] = ((16,), (32, 32), (64, 64), (128,))

    def build(self, outputs: int) -> nn.Module:
        layers: list[nn.Module] = []
        channels = 3
        for stage in self.stages:
            layers += [nn.MaxPool2d(2), *_stage(channels, stage)]
            channels = (channels, *stage)[-1]  # a stage may be empty, and so may the list of them
        head = nn.Linear(channels, outputs)
        return _channels_last(Normalise(), *layers[1:], nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)


@dataclass(frozen=True)
class Vgg16Bn:
    """VGG16 with batch norm for 32x32 images: 13 convolutions, five poolings to 512 features, one layer.

    Initialisation as in the paper's code: convolutions N(0, sqrt(2 / (9 * out))), layer N(0, 0.01).
    """

    def build(self, outputs: int) -> nn.Module:
        layers: list[nn.Module] = [Normalise()]
        for before, stage in pairwise(((3,), (64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)):
            layers += [*_stage(before[-1], stage), nn.MaxPool2d(2)]
        head = nn.Linear(512, outputs)
        nn.init.normal_(head.weight, std=0.01)
        nn.init.zeros_(head.bias)
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=(2 / (9 * layer.out_channels)) ** 0.5)
        return _channels_last(*layers, nn.Flatten(), head)


@dataclass(frozen=True)
class SimNet:
    """The similarity encoder: four 3x3 convolutions, 512 hidden units, 256 features.

    The released network pads nothing (5x5x64 = 1,600 units are flattened); the original Stateful Detector
    pads the first and third convolution (6x6x64 -> 2,304): `padded`.
    """

    features: int = 256
    padded: bool = False

    def build(self, outputs: int) -> nn.Module:
        """Return the untrained encoder with a classification head of `outputs` units, for pre-training."""
        return nn.Sequential(self.trunk(), nn.Linear(self.features, outputs))

    def trunk(self) -> nn.Sequential:
        """Return the encoder alone, images to features, not L2-normalised."""
        pad = int(self.padded)
        flat = 2304 if self.padded else 1600
        return nn.Sequential(
            Normalise(),
            nn.Conv2d(3, 32, 3, padding=pad),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout(0.25),
            nn.Conv2d(32, 64, 3, padding=pad),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout(0.25),
            nn.Flatten(),
            nn.Linear(flat, 512),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(512, self.features),
        )


def build(
    architecture: Architecture, outputs: int, generator: torch.Generator, device: torch.device | str = "cpu"
) -> nn.Module:
    """Return an untrained model whose weights depend on `generator` alone."""
    with seeded(generator):
        return architecture.build(outputs).to(device)


@dataclass(frozen=True)
class ResNet8x:
    """ResNet for 32x32 images that halves them thrice: DFME's victim (34 layers) and student (34, or 18)."""

    depth: Literal[18, 34] = 34

    def build(self, outputs: int) -> nn.Module:
        blocks = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}[self.depth]
        layers: list[nn.Module] = [Normalise(), *_conv_bn(3, 64)]
        inputs = 64
        for number, width, stride in zip(blocks, (64, 128, 256, 512), (1, 2, 2, 2), strict=True):
            for place in range(number):
                layers.append(_Residual(inputs, width, stride if place == 0 else 1))
                inputs = width
        return _channels_last(*layers, nn.AvgPool2d(4), nn.Flatten(), nn.Linear(512, outputs))


class _Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        # the second activation follows the sum
        self.main = nn.Sequential(*_conv_bn(inputs, outputs, stride), *_conv_bn(outputs, outputs)[:-1])
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, images: Tensor) -> Tensor:
        return torch.relu(self.main(images) + self.shortcut(images))


@dataclass(frozen=True)
class Dense:
    """Fully connected layers with ReLU between them: the shallow networks of Tramèr et al. (§III-B)."""

    hidden: tuple[int, ...] = (32,)

    def build(self, outputs: int) -> nn.Module:
        widths = (3 * 32 * 32, *self.hidden)
        layers: list[nn.Module] = [Normalise(), nn.Flatten()]
        for inputs, width in pairwise(widths):
            layers += [nn.Linear(inputs, width), nn.ReLU(inplace=True)]
        return nn.Sequential(*layers, nn.Linear(widths[-1], outputs))
