"""Weights that a surrogate starts from: its own architecture's, and ImageNet's under their official names."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from redhanded.errors import RedhandedError
from redhanded.lab import initialisation
from redhanded.lab.initialisation import imagenet_vgg16_bn, transplant
from redhanded.lab.models import ConvNet, Vgg16Bn, build

NET = ConvNet(((4,), (6,)))


def net(seed: int, outputs: int = 5) -> nn.Module:
    return build(NET, outputs, torch.Generator().manual_seed(seed))


def test_all_but_the_head_is_transplanted() -> None:
    source, model = net(0, outputs=9), net(1)
    last = list(model.state_dict())[-1].partition(".")[0]
    head = {name: value.clone() for name, value in model.state_dict().items() if name.startswith(f"{last}.")}
    assert len(head) == 2
    for module in source.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.fill_(0.3)
    transplant(model, source.state_dict())
    for name, value in model.state_dict().items():
        assert torch.equal(value, head.get(name, source.state_dict()[name])), name


def test_weights_of_another_architecture_are_refused_and_nothing_is_changed() -> None:
    other = build(ConvNet(((4,), (8,))), 5, torch.Generator()).state_dict()
    model = net(0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(RedhandedError, match=r"^initial: [^\n]+$"):
        transplant(model, other)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def official(seed: int = 0) -> nn.Module:
    """A VGG16-BN laid out as torchvision's: `features.N`, convolutions with a bias."""
    layers: list[nn.Module] = []
    channels = 3
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for width in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0):
            if width == 0:
                layers.append(nn.MaxPool2d(2))
                continue
            norm = nn.BatchNorm2d(width)
            nn.init.normal_(norm.running_mean)
            nn.init.uniform_(norm.running_var, 0.5, 2)
            nn.init.normal_(norm.bias)
            layers += [nn.Conv2d(channels, width, 3, padding=1), norm, nn.ReLU()]
            channels = width
    model = nn.Module()
    model.features = nn.Sequential(*layers)
    model.classifier = nn.Linear(4, 1000)
    return model.eval()


def test_imagenet_weights_compute_the_same_features(tmp_path: Path) -> None:
    """The convolution's bias is folded into the norm's running mean."""
    theirs = official()
    torch.save(theirs.state_dict(), tmp_path / "vgg.pth")
    ours = build(Vgg16Bn(), 10, torch.Generator())
    transplant(ours, imagenet_vgg16_bn(ours, tmp_path / "vgg.pth"))
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    assert isinstance(ours, nn.Sequential)
    ours.eval()
    with torch.no_grad():
        found, expected = ours[1:-2](images), theirs.features(images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert expected.abs().max() > 0.1


def test_imagenet_weights_are_for_vgg16_bn(tmp_path: Path) -> None:
    torch.save(official().state_dict(), tmp_path / "vgg.pth")
    with pytest.raises(RedhandedError, match="VGG16-BN"):
        imagenet_vgg16_bn(net(0), tmp_path / "vgg.pth")


def test_without_a_network_the_fix_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REDHANDED_DATA", str(tmp_path))
    monkeypatch.setattr(initialisation, "IMAGENET_URL", "http://127.0.0.1:9/vgg16_bn-6c64b313.pth")
    with pytest.raises(RedhandedError, match=r"^initial: [^\n]*vgg16_bn-6c64b313.pth[^\n]*public$"):
        imagenet_vgg16_bn(build(Vgg16Bn(), 10, torch.Generator()))


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "vgg.pth").write_bytes(b"nothing")
    with pytest.raises(RedhandedError, match=re.escape(str(tmp_path / "vgg.pth"))):
        imagenet_vgg16_bn(build(Vgg16Bn(), 10, torch.Generator()), tmp_path / "vgg.pth")
