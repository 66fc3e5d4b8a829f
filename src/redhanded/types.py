"""Array types that both faces share. No torch here.

Shapes are checked in tests only, by jaxtyping and beartype. A machine without jaxtyping (a GPU machine
without a package registry) reads the same annotations as plain arrays.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Float32, Float64, Int, Int64, UInt8
else:
    try:
        from jaxtyping import Bool, Float, Float32, Float64, Int, Int64, UInt8
    except ModuleNotFoundError:

        class _Unchecked:
            def __class_getitem__(cls, item: tuple[Any, str]) -> Any:
                return item[0]

        Bool = Float = Float32 = Float64 = Int = Int64 = UInt8 = _Unchecked

__all__ = [
    "ADDED",
    "Bool",
    "FeatureArray",
    "Float",
    "Float32",
    "Float64",
    "ImageArray",
    "Int",
    "Int64",
    "OutputArray",
    "UInt8",
]

ImageArray = Float32[np.ndarray, "n c h w"]
"""Images, float32 in [0, 1]."""
FeatureArray = Float32[np.ndarray, "n d"]
"""One row a query."""
OutputArray = Float[np.ndarray, "n classes"]
"""What the victim answered: one-hot labels, probabilities or logits."""

ADDED: Mapping[str, bool] = MappingProxyType({"added": True})
"""Metadata of a dataclass field that came later: at its default, which must do what was done before, it is no
part of an experiment's key, so that adding it discards nothing."""
