"""Streams before the detector: an honest user's, and a thief's."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from safetensors.numpy import save_file as save_arrays

from redhanded.detectors import SimilarityDetector
from redhanded.detectors.calibrate import Replay, rates
from redhanded.experiments.cells.base import Keyed
from redhanded.experiments.cells.calibrate import Calibrate, benign_stream, split_of
from redhanded.experiments.cells.extract import Extract
from redhanded.experiments.characterise import feature_diversity
from redhanded.experiments.context import Cell, Context
from redhanded.experiments.datasets import Data, as_floats
from redhanded.experiments.replay import Detection, nearest_in_account, replay
from redhanded.experiments.store import Record
from redhanded.types import FeatureArray

KEPT_PAIRS = 24
"""Flagged pairs of images that a detection keeps for the report."""


@dataclass(frozen=True)
class Honest(Keyed):
    """An honest user sends every image of some natural sets: what the guard does to it is its cost."""

    calibration: Calibrate
    stream: tuple[Data, ...]
    seed: int = 0

    version: ClassVar[int] = 2
    resumes: ClassVar[bool] = False
    kind: ClassVar[Literal["detection"]] = "detection"

    @property
    def needs(self) -> tuple[Cell, ...]:
        """The detector."""
        return (self.calibration,)

    @property
    def stream_name(self) -> str:
        """The sets sent."""
        return "+".join(f"{part.name}/{split_of(part)}" for part in self.stream)

    @property
    def label(self) -> str:
        """A readable file name."""
        names = "+".join(part.name for part in self.stream)
        loss = self.calibration.encoder.config.loss
        return f"honest-{self.calibration.world}-{loss}-{self.calibration.count}-{names}-{self.seed}"

    def described(self) -> Record:
        """Return every varied field, flat."""
        return _detection_fields(self.calibration) | {
            "attack": "none",
            "stream": self.stream_name,
            "seed": self.seed,
        }

    def run(self, context: Context) -> Record:
        """Send the stream as one user whose account is replaced at bans."""
        images = benign_stream(self.stream, self.seed)
        stream, detector = as_floats(images), self.calibration.load(context)
        found = replay(detector, stream)
        features = _embed(detector, stream)
        _save_detection(found, features, stream, context, self)
        return _detection_metrics(found, self.calibration.flags_to_ban) | feature_diversity(features)


@dataclass(frozen=True)
class Detect(Keyed):
    """Replay an attack's queries before the guard, and price them."""

    calibration: Calibrate
    extraction: Extract
    honest: Honest
    """A held-out natural stream: what an honest user would have been charged."""

    version: ClassVar[int] = 2
    """2: with the diversity of the stream's features."""
    resumes: ClassVar[bool] = False

    @property
    def needs(self) -> tuple[Cell, ...]:
        """The detector, the stream, and the honest user beside it."""
        return (self.calibration, self.extraction, self.honest)

    @property
    def label(self) -> str:
        """A readable file name."""
        loss, count = self.calibration.encoder.config.loss, self.calibration.count
        return f"detection-{loss}-{count}-" + self.extraction.label.removeprefix("extraction-")

    def described(self) -> Record:
        """Return every varied field, flat."""
        thief = self.extraction.described()
        del thief["kind"]
        return (
            thief
            | _detection_fields(self.calibration)
            | {
                "stream": self.extraction.key,
                "seed": self.extraction.seed,
            }
        )

    def run(self, context: Context) -> Record:
        """Replay the log."""
        log = self.extraction.log(context)
        detector = self.calibration.load(context)
        found = replay(detector, log.images, log.outputs)
        features = _embed(detector, log.images)
        _save_detection(found, features, log.images, context, self)
        honest = context.record(self.honest)
        stolen = context.record(self.extraction)
        floor = honest["flags"] / honest["queries"] * len(log) / self.calibration.flags_to_ban
        kept = {name: stolen[name] for name in ("accuracy", "agreement", "victim_accuracy")}
        measured = _detection_metrics(found, self.calibration.flags_to_ban)
        # the rate at which an attack is banned is no false-positive rate; that one is the honest user's
        charged = {name: honest[name] for name in ("fpr", "fpr_low", "fpr_high")}
        return kept | measured | charged | {"benign_floor": floor} | feature_diversity(features)


def _detection_fields(calibration: Calibrate) -> Record:
    return {
        "kind": "detection",
        "world": calibration.world,
        "detector": "similarity",
        "loss": calibration.encoder.config.loss,
        "count": calibration.count,
        "flags_to_ban": calibration.flags_to_ban,
        "calibration_key": calibration.key,
    }


def _detection_metrics(found: Detection, flags_to_ban: int) -> Record:
    measured = rates(Replay(found.counts, found.bans), flags_to_ban)
    return measured | {
        "queries": len(found.counts),
        "flags": found.flags,
        "bans": len(found.bans),
        "accounts_used": found.accounts_used,
    }


def _embed(detector: SimilarityDetector, images: np.ndarray) -> FeatureArray:
    parts = [
        detector.features(np.ascontiguousarray(images[at : at + 1024])) for at in range(0, len(images), 1024)
    ]
    return np.concatenate(parts)


def _save_detection(
    found: Detection, features: FeatureArray, images: np.ndarray, context: Context, cell: Cell
) -> None:
    """Keep the per-query verdicts, and some flagged pairs as bytes for the report's pictures."""
    flagged = np.flatnonzero(found.neighbours >= 0)
    shown = flagged[np.linspace(0, len(flagged) - 1, min(KEPT_PAIRS, len(flagged))).astype(int)]
    pairs = np.stack([images[shown], images[found.neighbours[shown]]], 1)
    save_arrays(
        {
            "counts": found.counts,
            "nearest": nearest_in_account(features, found.bans),
            "scores": found.nearest,
            "neighbours": found.neighbours,
            "bans": found.bans,
            "shown": shown,
            "pairs": np.ascontiguousarray((pairs * 255).round().astype(np.uint8).transpose(0, 1, 3, 4, 2)),
        },
        context.store.scratch(cell) / "detection.safetensors",
    )
