"""Where a surrogate's weights come from before the first query: chance, ImageNet or a public set (§IV-A1)."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor, nn

from redhanded.errors import RedhandedError
from redhanded.lab.data.archive import data_root

Weights = Mapping[str, Tensor]

IMAGENET_URL = "https://download.pytorch.org/models/vgg16_bn-6c64b313.pth"
IMAGENET_SHA256 = "6c64b313"
"""The first digits, which the file's name carries."""


def transplant(model: nn.Module, weights: Weights) -> None:
    """Copy weights into `model` by name, all but its head: the last linear layer keeps its own.

    Raises `RedhandedError` if a name is missing or a shape differs.
    """
    heads = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    head = f"{heads[-1]}." if heads else "."  # no name starts with a point
    own = {name: value for name, value in model.state_dict().items() if not name.startswith(head)}
    for name, value in own.items():
        if name not in weights or weights[name].shape != value.shape:
            raise RedhandedError(
                f"initial: the weights do not fit the surrogate at {name}; use those of its own architecture"
            )
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(weights[name])  # state_dict shares its storage with the model


def imagenet_vgg16_bn(model: nn.Module, path: Path | None = None) -> Weights:
    """Return torchvision's ImageNet weights of VGG16-BN under the names of `model`, a `Vgg16Bn`.

    Downloaded once to the data folder. Convolutions there have a bias, which batch norm takes away again:
    it is subtracted from the running mean. Raises `RedhandedError` if the file cannot be had.
    """
    stored = _features(_read(path or _fetch()))
    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]
    if len(layers) != len(stored):
        raise RedhandedError("initial: imagenet weights are those of VGG16-BN; use them with that surrogate")
    found = dict(model.state_dict())
    bias = torch.zeros(0)
    for (name, layer), theirs in zip(layers, stored, strict=True):
        if isinstance(layer, nn.Conv2d):
            found[f"{name}.weight"], bias = theirs["weight"], theirs["bias"]
        else:
            found |= {f"{name}.{part}": value for part, value in theirs.items()}
            found[f"{name}.running_mean"] = theirs["running_mean"] - bias
    return found


def _features(stored: Weights) -> list[dict[str, Tensor]]:
    """Return the convolutions' and norms' tensors in order; `features.N.part` in the file."""
    layers: dict[int, dict[str, Tensor]] = {}
    for name, value in stored.items():
        block, _, rest = name.lstrip("_").partition(".")
        if block == "features":
            number, _, part = rest.partition(".")
            layers.setdefault(int(number), {})[part] = value
    return [layers[number] for number in sorted(layers)]


def _fetch() -> Path:
    import pooch

    folder = data_root() / "weights"
    try:
        found = Path(pooch.retrieve(IMAGENET_URL, None, fname=IMAGENET_URL.rsplit("/", 1)[1], path=folder))
    except Exception as error:
        raise RedhandedError(
            f"initial: imagenet weights cannot be downloaded ({type(error).__name__}); "
            f"put {IMAGENET_URL.rsplit('/', 1)[1]} into {folder}, or use --initial public"
        ) from error
    if not sha256(found.read_bytes()).hexdigest().startswith(IMAGENET_SHA256):
        raise RedhandedError(f"initial: {found} is not the official file; delete it and try again")
    return found


def _read(path: Path) -> Weights:
    try:
        weights: Weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise RedhandedError(f"initial: {path} cannot be read; delete it and try again") from error
    return weights
