"""The similarity detector's threshold, tuned on a benign stream."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from redhanded.detectors import Detector, SimilarityDetector
from redhanded.detectors.similarity import Count
from redhanded.experiments.cells.base import Keyed
from redhanded.experiments.cells.datasets import Composed, Data
from redhanded.experiments.cells.encoder import TrainEncoder
from redhanded.experiments.cells.judges import Similarity
from redhanded.experiments.cells.tuned import load_tuned, tune
from redhanded.experiments.runner.context import Cell, Context
from redhanded.experiments.runner.store import Record
from redhanded.types import ImageArray, UInt8


@dataclass(frozen=True)
class Calibrate(Keyed):
    """Tune the similarity detector's threshold to a false-positive rate on benign images."""

    world: str
    encoder: TrainEncoder
    stream: tuple[Data, ...]
    fpr: float = 1e-4
    count: Count = "queries"
    flags_to_ban: int = 50
    seed: int = 0

    @property
    def title(self) -> str:
        return f"{self.encoder.config.loss}-{self.count}"

    @property
    def label(self) -> str:
        return f"calibration-{self.world}-{self.title}-{self.seed}"

    @property
    def _detector(self) -> Record:
        return {
            "world": self.world,
            "detector": "similarity",
            "loss": self.encoder.config.loss,
            "count": self.count,
            "flags_to_ban": self.flags_to_ban,
        }

    def detector_fields(self) -> Record:
        return self._detector | {"calibration_key": self.key}

    def described(self) -> Record:
        return self._detector | {
            "kind": "calibration",
            "stream": stream_name(self.stream),
            "target": self.fpr,
            "seed": self.seed,
            "encoder_key": self.encoder.key,
        }

    def untuned(self, context: Context) -> SimilarityDetector:
        return replace(Similarity(self.encoder, self.flags_to_ban).make(context), count=self.count)

    def run(self, context: Context) -> Record:
        """Embed the stream once, find δ, and write the bundle."""
        untuned = self.untuned(context)
        with context.reporter(f"{self.label}: embedding") as progress:
            images = benign_stream(self.stream, self.seed)
            tuned = tune(untuned, images, lambda _: None, progress, fpr=self.fpr)
        found = tuned.keep(context.store.scratch(self), self.described())
        return found | {"encoder_digest": untuned.encoder.digest}

    def load(self, context: Context) -> Detector[Any]:
        return load_tuned(context.artefact(self), partial(self.untuned, context))

    @property
    def answering(self) -> tuple[Cell, ...]:
        return ()

    def outputs(self, images: ImageArray, context: Context) -> None:
        """Return nothing: it does not judge by the victim's answers."""


def benign_stream(stream: tuple[Data, ...], seed: int) -> UInt8[np.ndarray, "n h w c"]:
    return in_order([part.load().images for part in stream], seed)


def in_order(sets: Sequence[UInt8[np.ndarray, "_ h w c"]], seed: int) -> UInt8[np.ndarray, "n h w c"]:
    """Return all images as they are sent, which decides who shares an account: set by set, each shuffled.

    So the reference sends them: CIFAR-10 train, test, then CINIC-10.
    """
    orders = [np.random.default_rng([seed, len(images)]).permutation(len(images)) for images in sets]
    return np.concatenate([images[order] for images, order in zip(sets, orders, strict=True)])


def stream_name(stream: tuple[Data, ...]) -> str:
    splits = [part.owner if isinstance(part, Composed) else part.split for part in stream]
    return "+".join(f"{part.name}/{split}" for part, split in zip(stream, splits, strict=True))
