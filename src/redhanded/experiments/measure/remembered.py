"""A detector that embeds each image once, however often a stream is replayed before it."""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import numpy as np

from redhanded.detectors.base import Arrays, Detector, Scope, Verdict
from redhanded.types import FeatureArray, OutputArray


class Remembered:
    """Judges as the detector it wraps, whose features it keeps by the bytes of their images."""

    def __init__(self, detector: Detector[Any]) -> None:
        self.detector = detector
        self._rows: dict[bytes, np.ndarray] = {}

    @property
    def needs_outputs(self) -> bool:
        return self.detector.needs_outputs

    @property
    def scope(self) -> Scope:
        return self.detector.scope

    def features(self, images: np.ndarray) -> FeatureArray:
        """Return features, asking the detector only for images that it has not seen."""
        keys = [blake2b(image.tobytes(), digest_size=16).digest() for image in images]
        new = [place for place, key in enumerate(keys) if key not in self._rows]
        if new or not keys:
            found = self.detector.features(images[new])
            self._rows |= {keys[place]: row.copy() for place, row in zip(new, found, strict=True)}
            if not keys:
                return found
        return np.stack([self._rows[key] for key in keys])

    def new_memory(self) -> Any:
        return self.detector.new_memory()

    def update(self, memory: Any, features: FeatureArray, outputs: OutputArray | None = None) -> Verdict:
        return self.detector.update(memory, features, outputs)

    def dump(self, memory: Any) -> Arrays:
        return self.detector.dump(memory)

    def restore(self, state: Mapping[str, np.ndarray]) -> Any:
        return self.detector.restore(state)
