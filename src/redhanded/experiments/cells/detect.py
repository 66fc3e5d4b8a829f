"""Streams before the detector, an honest user's and a thief's: what Tables VII to XV are measured by."""

import time
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from safetensors.numpy import load_file, save_file

from redhanded.detectors import Detector, LikelihoodDetector, OutlierDetector, SimilarityDetector
from redhanded.detectors.accounts import benign_floor
from redhanded.detectors.intervals import Replay, rates
from redhanded.detectors.likelihood import auroc
from redhanded.experiments.cells.base import Keyed
from redhanded.experiments.cells.calibrate import Calibrate, benign_stream, stream_name
from redhanded.experiments.cells.datasets import Data, as_floats
from redhanded.experiments.cells.extract import Extract
from redhanded.experiments.cells.tune import Tune
from redhanded.experiments.cells.tuned import CHUNK, digest_of
from redhanded.experiments.measure.ancestry import ancestry_ceiling
from redhanded.experiments.measure.characterise import feature_diversity
from redhanded.experiments.measure.remembered import Remembered
from redhanded.experiments.measure.replay import Detection, nearest_in_account, replay
from redhanded.experiments.runner.context import Cell, Context
from redhanded.experiments.runner.store import Record
from redhanded.files import whole
from redhanded.types import ADDED, FeatureArray

KEPT_PAIRS = 24
"""Flagged pairs of images that a detection keeps for the report."""
VERDICTS = "detection.safetensors"


@dataclass(frozen=True)
class Honest(Keyed):
    """An honest user sends every image of some natural sets: what the guard does to it is its cost.

    `beside` is the honest stream of the victim's kind that the floor and the likelihood's AUROC refer to.
    """

    calibration: Calibrate | Tune
    stream: tuple[Data, ...]
    seed: int = 0
    beside: "Honest | None" = field(default=None, metadata=ADDED)

    version: ClassVar[int] = 4

    @property
    def needs(self) -> tuple[Cell, ...]:
        beside = () if self.beside is None else (self.beside,)
        return (self.calibration, *self.calibration.answering, *beside)

    @property
    def label(self) -> str:
        names = "+".join(part.name for part in self.stream)
        return f"honest-{self.calibration.world}-{self.calibration.title}-{names}-{self.seed}"

    def described(self) -> Record:
        return self.calibration.detector_fields() | {
            "kind": "detection",
            "attack": "none",
            "stream": stream_name(self.stream),
            "seed": self.seed,
        }

    def run(self, context: Context) -> Record:
        """Send the stream as one user whose account is replaced at bans."""
        images = as_floats(benign_stream(self.stream, self.seed))
        measured = _judged(self, images, self.calibration.outputs(images, context), context)
        beside = {} if self.beside is None else _beside(self, self.beside, len(images), context)
        return measured | beside

    def price(self, detector: Detector[Any], length: int, context: Context) -> Record:
        verdicts = load_file(context.artefact(self) / VERDICTS)
        return benign_floor(detector, verdicts["features"], verdicts.get("answers"), length)

    def rates(self, context: Context) -> Record:
        """Return the false-positive rate, which the rate of an attack's bans is not."""
        record = context.record(self)
        return {name: record[name] for name in ("fpr", "fpr_low", "fpr_high")}


@dataclass(frozen=True)
class Detect(Keyed):
    """Replay an attack's queries before the guard, and price them."""

    calibration: Calibrate | Tune
    extraction: Extract
    honest: Honest
    """A held-out natural stream: what an honest user would have been charged."""

    version: ClassVar[int] = 4
    """4: with the ancestry ceiling, the diversity of features, the time that judging takes, and a floor of
    fresh accounts."""

    @property
    def label(self) -> str:
        return f"detection-{self.calibration.title}-" + self.extraction.label.removeprefix("extraction-")

    def described(self) -> Record:
        judged = {"kind": "detection", "stream": self.extraction.key, "seed": self.extraction.seed}
        return self.extraction.described() | self.calibration.detector_fields() | judged

    def run(self, context: Context) -> Record:
        log = self.extraction.log(context)
        measured = _judged(self, log.images, log.outputs, context)
        stolen = context.record(self.extraction)
        kept = {name: stolen[name] for name in ("accuracy", "agreement", "victim_accuracy")}
        found = kept | measured | _beside(self, self.honest, len(log), context)
        if "query_effective_rank" in measured:  # of near-duplicates alone there is a ceiling
            ceiling = ancestry_ceiling(log.parents, self.calibration.flags_to_ban)
            found |= {"ceiling_flags": ceiling.flags, "ceiling_bans": len(ceiling.bans)}
        return found


def _judged(
    cell: Honest | Detect, images: np.ndarray, outputs: np.ndarray | None, context: Context
) -> Record:
    """Replay a stream before the cell's detector, keep every verdict, and count."""
    detector = cell.calibration.load(context)
    embedded = isinstance(detector, SimilarityDetector | LikelihoodDetector | OutlierDetector)
    judge = Remembered(detector) if embedded else detector  # whose features are wanted again
    began = time.perf_counter()
    found = replay(judge, images, outputs)
    seconds = time.perf_counter() - began
    names = ("counts", "neighbours", "bans")
    kept = {"scores": found.nearest} | {name: getattr(found, name) for name in names}
    diversity: Record = {}
    measure = isinstance(cell, Honest) and cell.beside is None  # what floors are taken from
    features = _embed(judge, images) if embedded or measure else np.empty((0, 0), np.float32)
    if isinstance(detector, SimilarityDetector):
        kept |= {"nearest": nearest_in_account(features, found.bans)} | _shown(found, images)
        diversity = feature_diversity(features)
    elif embedded:
        kept["statistic"] = features
    if measure:
        kept["features"] = features
        kept |= {} if outputs is None else {"answers": outputs.astype(np.float32)}
    with whole(context.store.scratch(cell) / VERDICTS) as partial:
        save_file(kept, partial)
    measured = {
        "queries": len(found.counts),
        "flags": found.flags,
        "bans": len(found.bans),
        "accounts_used": found.accounts_used,
        "judging_seconds": round(seconds, 3),
    }
    rated = rates(Replay(found.counts, found.bans), cell.calibration.flags_to_ban)
    return rated | measured | digest_of(context.artefact(cell.calibration)) | diversity


def _beside(cell: Honest | Detect, honest: Honest, length: int, context: Context) -> Record:
    """What an honest user of the victim's kind pays for as many queries, and how the statistic differs."""
    found = honest.price(cell.calibration.load(context), length, context)
    if isinstance(cell, Detect):
        found |= honest.rates(context)
    ours = load_file(context.store.scratch(cell) / VERDICTS)
    if "statistic" in ours:
        theirs = load_file(context.artefact(honest) / VERDICTS)
        found["auroc"] = auroc(theirs["statistic"], ours["statistic"])
    return found


def _embed(detector: Detector[Any], images: np.ndarray) -> FeatureArray:
    chunks = (np.ascontiguousarray(images[at : at + CHUNK]) for at in range(0, len(images), CHUNK))
    return np.concatenate([detector.features(chunk) for chunk in chunks])


def _shown(found: Detection, images: np.ndarray) -> dict[str, np.ndarray]:
    """Some flagged pairs as bytes, for the report's pictures."""
    flagged = np.flatnonzero(found.neighbours >= 0)
    shown = flagged[np.linspace(0, len(flagged) - 1, min(KEPT_PAIRS, len(flagged))).astype(int)]
    pairs = np.stack([images[shown], images[found.neighbours[shown]]], 1)
    as_bytes = (pairs * 255).round().astype(np.uint8).transpose(0, 1, 3, 4, 2)
    return {"shown": shown, "pairs": np.ascontiguousarray(as_bytes)}
