"""The architectures of the paper, layer by layer, and where their weights come from."""

from typing import Literal

import pytest
import torch
from torch import nn

from redhanded.lab.models import (
    CIFAR10_MEAN,
    CIFAR10_STD,
    Architecture,
    ConvNet,
    Dense,
    Normalise,
    ResNet8x,
    SimNet,
    Vgg16Bn,
    build,
    seeded,
)

ARCHITECTURES = [ConvNet(), Vgg16Bn(), SimNet(), SimNet(padded=True), ResNet8x(18), ResNet8x(), Dense()]
each = pytest.mark.parametrize("architecture", ARCHITECTURES, ids=repr)


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([value.double().flatten() for value in model.state_dict().values()])


def test_vgg16_bn(generator: torch.Generator) -> None:
    model = build(Vgg16Bn(), 10, generator)
    convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    assert all(c.kernel_size == (3, 3) and c.padding == (1, 1) for c in convolutions)
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in model.modules()) == 13
    assert sum(isinstance(layer, nn.MaxPool2d) for layer in model.modules()) == 5
    # 14,710,464 of convolutions without biases, 2 x 4,224 of batch norm, 5,130 of the layer
    assert parameters(model) == 14_724_042
    for convolution in convolutions:
        wanted = (2 / (9 * convolution.out_channels)) ** 0.5
        assert float(convolution.weight.detach().std()) == pytest.approx(wanted, rel=0.05)
    (head,) = (layer for layer in model.modules() if isinstance(layer, nn.Linear))
    assert float(head.weight.detach().std()) == pytest.approx(0.01, rel=0.05)
    assert head.bias.abs().max() == 0
    with torch.no_grad():
        assert model.eval()(torch.rand(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize(("padded", "flat"), [(False, 1600), (True, 2304)])
def test_simnet(padded: bool, flat: int, generator: torch.Generator) -> None:
    trunk = SimNet(padded=padded).trunk()
    first, last = (layer for layer in trunk if isinstance(layer, nn.Linear))
    assert (first.in_features, first.out_features) == (flat, 512)
    assert (last.in_features, last.out_features) == (512, 256)
    assert [layer.p for layer in trunk if isinstance(layer, nn.Dropout)] == [0.25, 0.25, 0.5]
    images = torch.rand(2, 3, 32, 32, generator=generator)
    with torch.no_grad():
        assert trunk.eval()(images).shape == (2, 256)
        assert build(SimNet(padded=padded), 7, generator).eval()(images).shape == (2, 7)
    # 3x3 convolutions 3-32-32-64-64 with biases
    convolutions = 28 * 32 + 289 * 32 + 289 * 64 + 577 * 64
    assert parameters(trunk) == convolutions + (flat + 1) * 512 + 513 * 256


@pytest.mark.parametrize("side", [8, 32])
def test_convnet(side: int, generator: torch.Generator) -> None:
    model = build(ConvNet(((4,), (5, 6))), 7, generator).eval()
    widths = [c.out_channels for c in model.modules() if isinstance(c, nn.Conv2d)]
    assert widths == [4, 5, 6]
    assert sum(isinstance(layer, nn.MaxPool2d) for layer in model.modules()) == 1
    assert parameters(model) == (27 * 4 + 8) + (36 * 5 + 10) + (45 * 6 + 12) + (6 + 1) * 7
    with torch.no_grad():
        assert model(torch.rand(3, 3, side, side, generator=generator)).shape == (3, 7)


@pytest.mark.parametrize(("stages", "poolings"), [((), 0), (((4,), (), (5,)), 2), (((),), 0)])
def test_convnet_with_nothing_in_a_stage(
    stages: tuple[tuple[int, ...], ...], poolings: int, generator: torch.Generator
) -> None:
    model = build(ConvNet(stages), 7, generator).eval()
    assert sum(isinstance(layer, nn.MaxPool2d) for layer in model.modules()) == poolings
    with torch.no_grad():
        assert model(torch.rand(2, 3, 8, 8, generator=generator)).shape == (2, 7)


@each
def test_models_normalise_themselves_once(architecture: Architecture, generator: torch.Generator) -> None:
    model = build(architecture, 10, generator)
    normalisers = [layer for layer in model.modules() if isinstance(layer, Normalise)]
    assert len(normalisers) == 1
    first = next(layer for layer in model.modules() if not list(layer.children()))
    assert first is normalisers[0]
    torch.testing.assert_close(normalisers[0].mean.flatten(), torch.tensor(CIFAR10_MEAN))
    torch.testing.assert_close(normalisers[0].std.flatten(), torch.tensor(CIFAR10_STD))


def test_normalise_against_a_loop(generator: torch.Generator) -> None:
    images = torch.rand(2, 3, 4, 4, generator=generator)
    ours = Normalise((0.1, 0.2, 0.3), (0.5, 2.0, 4.0))(images)
    for channel, (mean, std) in enumerate(zip((0.1, 0.2, 0.3), (0.5, 2.0, 4.0), strict=True)):
        torch.testing.assert_close(ours[:, channel], (images[:, channel] - mean) / std)


@each
def test_build_depends_on_the_generator_alone(architecture: Architecture) -> None:
    before = torch.get_rng_state()
    generator = torch.Generator().manual_seed(5)
    one, second = build(architecture, 10, generator), build(architecture, 10, generator)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7)
    again = build(architecture, 10, torch.Generator().manual_seed(5))
    assert torch.equal(weights(one), weights(again))
    assert not torch.equal(weights(one), weights(second))


def test_seeded_restores_the_global_state_after_an_error() -> None:
    before = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), seeded(torch.Generator().manual_seed(0)):
        torch.rand(3 // int(torch.zeros(())))
    assert torch.equal(torch.get_rng_state(), before)


def test_architectures_are_values() -> None:
    assert len({*ARCHITECTURES, ConvNet(), Vgg16Bn()}) == len(ARCHITECTURES)
    assert eval(repr(SimNet(padded=True))) == SimNet(padded=True)


@pytest.mark.parametrize(("depth", "blocks"), [(18, (2, 2, 2, 2)), (34, (3, 4, 6, 3))])
def test_resnet_8x(depth: Literal[18, 34], blocks: tuple[int, ...], generator: torch.Generator) -> None:
    model = build(ResNet8x(depth), 10, generator).eval()
    convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    wide = [c for c in convolutions if c.kernel_size == (3, 3)]
    # a stem of one, two a block, and the layer: the depth in its name
    assert len(wide) + 1 == depth
    stages = list(zip(blocks, (64, 128, 256, 512), strict=True))
    widths = [width for count, width in stages for _ in range(2 * count)]
    assert [c.out_channels for c in wide] == [64, *widths]
    assert [c.out_channels for c in wide if c.stride == (2, 2)] == [128, 256, 512]
    assert [c.out_channels for c in convolutions if c.kernel_size == (1, 1)] == [128, 256, 512]
    assert not any(isinstance(layer, nn.MaxPool2d) for layer in model.modules())
    # a 3x3 convolution a to b, its batch norm, and the 1x1 shortcuts where the width doubles
    total, before = 27 * 64 + 128, 64
    for count, width in stages:
        total += 9 * before * width + (2 * count - 1) * 9 * width**2 + 2 * count * 2 * width
        total += 0 if before == width else before * width + 2 * width
        before = width
    assert parameters(model) == total + 5_130 == {18: 11_173_962, 34: 21_282_122}[depth]
    images = torch.rand(2, 3, 32, 32, generator=generator)
    shapes = []
    model[-2].register_forward_hook(lambda _, given, __: shapes.append(given[0].shape))
    with torch.no_grad():
        assert model(images).shape == (2, 10)
    assert shapes == [(2, 512, 1, 1)]  # 4x4, averaged


def test_a_residual_block_adds_its_shortcut(generator: torch.Generator) -> None:
    model = build(ResNet8x(18), 10, generator).eval()
    same = next(block for block in model if len(list(block.children())) == 2)
    inputs = torch.randn(2, 64, 8, 8, generator=generator)
    with torch.no_grad():
        for layer in same.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.zeros_(layer.weight)
        torch.testing.assert_close(same(inputs), inputs.relu())


@pytest.mark.parametrize("hidden", [(), (32,), (16, 8)])
def test_dense(hidden: tuple[int, ...], generator: torch.Generator) -> None:
    model = build(Dense(hidden), 7, generator)
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    assert [layer.in_features for layer in layers] == [3072, *hidden]
    assert [layer.out_features for layer in layers] == [*hidden, 7]
    assert sum(isinstance(layer, nn.ReLU) for layer in model.modules()) == len(hidden)
    images = torch.rand(3, 3, 32, 32, generator=generator)
    expected = Normalise()(images).flatten(1)
    for layer in layers[:-1]:
        expected = (expected @ layer.weight.T + layer.bias).relu()
    torch.testing.assert_close(model(images), expected @ layers[-1].weight.T + layers[-1].bias)
