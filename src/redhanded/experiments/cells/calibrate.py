"""The similarity detector's threshold, tuned on a benign stream."""

import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays

from redhanded.detectors import SimilarityDetector
from redhanded.detectors.base import Encoder
from redhanded.detectors.bundle import load_bundle, save_bundle
from redhanded.detectors.index import principal_axes
from redhanded.detectors.pairs import calibrate_similarity
from redhanded.detectors.similarity import Count
from redhanded.experiments.cells.base import (
    Keyed,
)
from redhanded.experiments.cells.datasets import Data, as_floats
from redhanded.experiments.cells.encoder import TrainEncoder
from redhanded.experiments.runner.context import Cell, Context
from redhanded.experiments.runner.store import Record
from redhanded.lab.encoders import (
    TorchEncoder,
)
from redhanded.lab.training import Progress
from redhanded.types import FeatureArray, ImageArray


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

    version: ClassVar[int] = 1
    resumes: ClassVar[bool] = False

    @property
    def needs(self) -> tuple[Cell, ...]:
        """The encoder."""
        return (self.encoder,)

    @property
    def title(self) -> str:
        """The encoder's loss and the rule that counts."""
        return f"{self.encoder.config.loss}-{self.count}"

    @property
    def label(self) -> str:
        """A readable file name."""
        return f"calibration-{self.world}-{self.title}-{self.seed}"

    def detector_fields(self) -> Record:
        """Return what a detection's record says of the detector."""
        return {
            "world": self.world,
            "detector": "similarity",
            "loss": self.encoder.config.loss,
            "count": self.count,
            "flags_to_ban": self.flags_to_ban,
            "calibration_key": self.key,
        }

    def described(self) -> Record:
        """Return every varied field, flat."""
        return {
            "kind": "calibration",
            "world": self.world,
            "detector": "similarity",
            "loss": self.encoder.config.loss,
            "count": self.count,
            "flags_to_ban": self.flags_to_ban,
            "stream": stream_name(self.stream),
            "target": self.fpr,
            "seed": self.seed,
            "encoder_key": self.encoder.key,
        }

    def run(self, context: Context) -> Record:
        """Embed the stream once, find δ, and write the bundle."""
        encoder = self.encoder.load(context)
        with context.reporter(f"{self.label}: embedding") as progress:
            features = embed_stream(encoder, self.stream, self.seed, progress)
        calibration, _ = calibrate_similarity(
            features, fpr=self.fpr, count=self.count, flags_to_ban=self.flags_to_ban
        )
        axes = principal_axes(features)
        detector = SimilarityDetector(encoder, calibration.delta, self.count, self.flags_to_ban, axes=axes)
        scratch = context.store.scratch(self)
        save_arrays({"axes": axes}, scratch / "detector.safetensors")
        if isinstance(encoder, TorchEncoder):  # no exporter here: `load` puts the parts together again
            (scratch / "detector.json").write_text(json.dumps({"delta": calibration.delta}), encoding="utf-8")
        else:
            provenance = {k: v for k, v in self.described().items() if k != "kind"}
            save_bundle(scratch / "bundle", detector, calibration, provenance)
        found = {**vars(calibration)}
        del found["count"], found["target"], found["flags_to_ban"]
        return found | {"encoder_digest": encoder.digest}

    def load(self, context: Context) -> SimilarityDetector:
        """Return the calibrated detector."""
        folder = context.artefact(self)
        if (folder / "bundle").is_dir():
            try:
                found: SimilarityDetector = load_bundle(folder / "bundle")
            except ModuleNotFoundError:  # a machine without ONNX Runtime goes through PyTorch
                pass
            else:
                return found
        return SimilarityDetector(
            self.encoder.load(context),
            float(context.record(self)["delta"]),
            self.count,
            self.flags_to_ban,
            axes=load_arrays(folder / "detector.safetensors")["axes"],
        )

    @property
    def answering(self) -> tuple[Cell, ...]:
        """Nobody: it does not judge by the victim's answers."""
        return ()

    def outputs(self, images: ImageArray, context: Context) -> None:
        """Return nothing: it does not judge by the victim's answers."""


def benign_stream(stream: tuple[Data, ...], seed: int) -> np.ndarray:
    """Return the images of all sets as bytes [n, h, w, c]: one set after the other, each in a seeded order.

    So the reference sends them (CIFAR-10 train, test, then CINIC-10, each shuffled): it decides which images
    share an account.
    """
    parts = []
    for part in stream:
        images = part.load().images
        parts.append(images[np.random.default_rng([seed, len(images)]).permutation(len(images))])
    return np.concatenate(parts)


def embed_stream(encoder: Encoder, stream: tuple[Data, ...], seed: int, progress: Progress) -> FeatureArray:
    """Embed a benign stream in chunks: features [n, d]."""
    images = benign_stream(stream, seed)
    parts = []
    for at in range(0, len(images), 1024):
        parts.append(encoder(as_floats(images[at : at + 1024])))
        progress(min(at + 1024, len(images)), len(images))
    return np.concatenate(parts)


def stream_name(stream: tuple[Data, ...]) -> str:
    """Name the sets of a stream and their splits."""
    return "+".join(f"{part.name}/{split_of(part)}" for part in stream)


def split_of(data: Data) -> str:
    return data.owner if hasattr(data, "owner") else data.split
