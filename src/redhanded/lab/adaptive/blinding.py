"""Query blinding (§VII-A): ask about a changed copy, and keep the answer for the image itself.

Eight random transforms of Chen et al., each under three laws. `chen` is their code, `released` the port that
the paper's attacks call on standardised images, and `corrected` what the paper describes.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

import torch
from torch import Tensor

from redhanded.errors import RedhandedError
from redhanded.lab.models import CIFAR10_MEAN, CIFAR10_STD
from redhanded.lab.types import Adaptation, Adapted, Images, Kind, as_is
from redhanded.lab.warp import warp
from redhanded.types import Float

TransformKind = Literal[
    "crop", "brightness", "scale", "rotate", "contrast", "uniform", "gaussian", "translate"
]
Law = Literal["chen", "released", "corrected"]
Blinder = Callable[[Images, torch.Generator], Images]
"""Returns changed copies; `Transform` and `AutoEncoder` are two."""

TRANSFORMS: tuple[TransformKind, ...] = get_args(TransformKind)

CHEN: Mapping[TransformKind, float] = MappingProxyType(
    {
        "crop": 0.04,
        "brightness": 0.09,
        "scale": 0.17,
        "rotate": 0.018 * math.pi,
        "contrast": 0.55,
        "uniform": 0.064,
        "gaussian": 0.095,
        "translate": 0.45,
    }
)
PARAMETERS: Mapping[Law, Mapping[TransformKind, float]] = MappingProxyType(
    {
        "chen": CHEN,
        # the port took radians for degrees, and 0.1 for the least contrast
        "released": MappingProxyType(
            {**CHEN, "rotate": math.radians(0.018), "contrast": 0.1, "translate": 0.05}
        ),
        "corrected": MappingProxyType({**CHEN, "translate": 0.05}),
    }
)
"""The degree r of each transform: the original code's, the released `low` setting, and the paper's."""

BLINDED: frozenset[Kind] = frozenset({"augmented", "student", "pool"})
"""Natural seeds and the pairs of a finite difference are sent as they are (§VII, and the released code)."""


def standardised(change: Callable[[Images], Images], images: Images) -> Images:
    """Return what `change` makes of images standardised by CIFAR-10's statistics, as pixels again."""
    mean, deviation = (
        torch.tensor(values, device=images.device).view(1, 3, 1, 1) for values in (CIFAR10_MEAN, CIFAR10_STD)
    )
    return change((images - mean) / deviation) * deviation + mean


@dataclass(frozen=True)
class Transform:
    """A random change of degree `r`, one draw per image unless said otherwise; U(a, b) is uniform.

    - crop: a square of 1 - r to 1 of the area, anywhere; `chen`: a centred box, U(0, r) of the side off
      every edge.
    - brightness: adds U(-r, r); `chen`: one draw per call.
    - scale: enlarges by U(1 - r, 1 + r); `chen`: multiplies pixel values by it.
    - rotate: by U(-r, r) radians.
    - contrast: multiplies by U(r, 1) what differs from the channel's mean; `chen`: one draw per call;
      `released`: multiplies everything, so that the image darkens.
    - uniform, gaussian: adds U(-r, r), or r·N(0, 1), to every value.
    - translate: across and down by U(-r, r) of the side; `chen`: of a pixel.

    Results are clipped to [0, 1], but for `chen`'s brightness, contrast and uniform noise. `released` works
    on images standardised by CIFAR-10's statistics: its noises and brightness, in deviations, and its
    contrast are clipped to [0, 1] there, which flattens all that is darker than the mean or brighter by more
    than one deviation; what geometry moves in from outside is the mean, not black.
    """

    kind: TransformKind
    law: Law
    r: float

    def __post_init__(self) -> None:
        most = math.pi if self.kind == "rotate" else 1.0
        if not 0 <= self.r <= most:
            raise RedhandedError(f"r: {self.r} is no degree of {self.kind}; give 0 to {most:.4g}")

    def __call__(self, images: Images, generator: torch.Generator) -> Images:
        """Return changed copies of images [n, 3, h, w] in [0, 1], on their device; draws are the CPU's."""
        if self.law == "released":
            return standardised(lambda given: self._changed(given, generator), images)
        return self._changed(images, generator)

    def _changed(self, images: Images, generator: torch.Generator) -> Images:
        match self.kind:
            case "uniform" | "gaussian":
                return self._clipped(images + self._noise(images, generator))
            case "brightness":
                return self._clipped(images + self._drawn(images, generator, -self.r, self.r))
            case "contrast":
                factor = self._drawn(images, generator, self.r, 1.0)
                if self.law == "released":
                    return self._clipped(images * factor)
                mean = images.mean(dim=(2, 3), keepdim=True)
                return self._clipped((images - mean) * factor + mean)
            case "scale" if self.law == "chen":
                return self._clipped(images * self._drawn(images, generator, 1 - self.r, 1 + self.r))
            case _:
                return self._moved(images, generator)

    def _noise(self, images: Images, generator: torch.Generator) -> Images:
        if self.kind == "gaussian":
            return self.r * torch.randn(images.shape, generator=generator).to(images.device)
        return self.r * (torch.rand(images.shape, generator=generator) * 2 - 1).to(images.device)

    def _drawn(
        self, images: Images, generator: torch.Generator, low: float, high: float
    ) -> Float[Tensor, "k 1 1 1"]:
        """Draw from U(low, high) for every image; once for all in Chen's brightness and contrast."""
        count = 1 if self.law == "chen" and self.kind != "scale" else len(images)
        drawn = torch.rand(count, generator=generator) * (high - low) + low
        return drawn.to(images.device).view(-1, 1, 1, 1)

    def _clipped(self, images: Images) -> Images:
        unclipped = self.law == "chen" and self.kind in {"brightness", "contrast", "uniform"}
        return images if unclipped else images.clamp(0, 1)

    def _moved(self, images: Images, generator: torch.Generator) -> Images:
        """Rotate, translate, scale or crop, by a window on each image in shares of its sides."""
        n, _, height, width = images.shape
        angle, shift, side = torch.zeros(n), torch.zeros(2, n), torch.ones(n)
        draw = torch.rand(3, n, generator=generator) * 2 - 1
        match self.kind:
            case "rotate":
                angle = draw[0] * self.r
            case "translate":
                size = torch.tensor([[width], [height]]) if self.law == "chen" else 1
                shift = draw[1:] * self.r / size
            case "scale":
                side = 1 / (1 + draw[0] * self.r)
            case _ if self.law == "chen":
                side = 1 - (draw[0] + 1) * self.r  # two margins of (draw + 1) / 2 · r
            case _:
                side = (1 - (draw[0] + 1) / 2 * self.r).sqrt()
                shift = draw[1:] * (1 - side) / 2
        return warp(images, torch.ones(n, dtype=torch.bool), angle, side.expand(2, n), shift)


def transform(kind: TransformKind, law: Law = "corrected") -> Transform:
    return Transform(kind, law, PARAMETERS[law][kind])


def blind(
    blinder: Blinder, generator: torch.Generator, *, everywhere: bool = False, seeds: bool = False
) -> Adaptation:
    """Return the adaptation that keeps every query and sends what the blinder makes of it.

    What the thief crafted and picked is blinded. `everywhere` also blinds the pairs from which data-free
    extraction estimates gradients, `seeds` the natural images sent first; the paper blinds neither.
    """
    kinds = BLINDED | ({"gradient"} if everywhere else set()) | ({"seed"} if seeds else set())

    def adapt(images: Images, kind: Kind) -> Adapted:
        if kind not in kinds:
            return as_is(images, kind)
        return Adapted(as_is(images, kind).keep, blinder(images, generator))

    return adapt
