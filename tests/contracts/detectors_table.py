"""Every detector, small enough to be run thousands of times: a new detector adds one row."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from redhanded.detectors import (
    BlacklightDetector,
    HodaDetector,
    LikelihoodDetector,
    OutlierDetector,
    PradaDetector,
    SimilarityDetector,
    StatefulDetector,
)
from redhanded.detectors.base import Arrays, Detector, Scope, Verdict, check_images
from redhanded.detectors.index import principal_axes
from redhanded.types import FeatureArray, ImageArray, OutputArray

SHAPE = (1, 4, 4)
PIXELS = 16
PROTOTYPES = np.random.default_rng(0).uniform(0.1, 0.9, (6, *SHAPE)).astype(np.float32)


def pictures(codes: Sequence[int]) -> ImageArray:
    """Images for codes 0..23: six prototypes, far from each other, each in four nearly equal variants."""
    codes = np.asarray(codes, np.int64)
    steps = (codes % 4).astype(np.float32) * np.float32(0.002)
    return PROTOTYPES[codes // 4] + steps[:, None, None, None]


def victim(images: ImageArray) -> OutputArray:
    """Three classes by the first pixel; each row depends on its image alone."""
    return np.eye(3, dtype=np.float32)[np.minimum(images[:, 0, 0, 0] * 3, 2).astype(np.int64)]


@dataclass(frozen=True)
class LinearEncoder:
    """A random projection, summed row by row, so that no batch size changes a bit of it."""

    seed: int = 0
    dimensions: int = 6

    @property
    def digest(self) -> str:
        return f"linear-{self.seed}-{self.dimensions}"

    @cached_property
    def weights(self) -> np.ndarray:
        return np.random.default_rng(self.seed).normal(size=(self.dimensions, PIXELS))

    def __call__(self, images: ImageArray) -> FeatureArray:
        flat = images.reshape(len(images), 1, PIXELS).astype(np.float64)
        return (flat * self.weights).sum(axis=2).astype(np.float32)


@dataclass(frozen=True)
class Thirds:
    """A degree of hardness, 0 to 2, by the first pixel's thirds."""

    digest: str = "thirds"

    def __call__(self, images: ImageArray) -> FeatureArray:
        return np.minimum(images[:, 0, 0, :1] * 3, 2).astype(np.int64).astype(np.float32)


@dataclass
class Streak:
    label: int = -1
    length: int = 0
    banned: bool = False


@dataclass(frozen=True)
class SameAnswerDetector:
    """Stands in for detectors that judge by the answer: bans at the fifth equal label in a row."""

    limit: int = 5
    needs_outputs = True
    scope: Scope = "account"

    def features(self, images: np.ndarray) -> FeatureArray:
        return check_images(images).mean(axis=(1, 2, 3), dtype=np.float32)[:, None]

    def new_memory(self) -> Streak:
        return Streak()

    def update(self, memory: Streak, features: FeatureArray, outputs: OutputArray | None = None) -> Verdict:
        assert outputs is not None
        assert outputs.shape == (len(features), 3) or len(features) == 0
        scores: list[float] = []
        for label in () if memory.banned else outputs.argmax(axis=1).tolist():
            memory.length = memory.length + 1 if label == memory.label else 1
            memory.label = label
            memory.banned = memory.length >= self.limit
            scores.append(memory.length)
            if memory.banned:
                break
        none = np.zeros(len(scores), np.int64)
        return Verdict(
            none,
            np.array(scores, np.float64),
            none - 1,
            len(scores) - 1 if memory.banned and scores else None,
        )

    def dump(self, memory: Streak) -> Arrays:
        return {"state": np.array([memory.label, memory.length, memory.banned], np.int64)}

    def restore(self, state: Mapping[str, np.ndarray]) -> Streak:
        label, length, banned = state["state"].tolist()
        return Streak(label, length, bool(banned))


@dataclass
class Seen:
    rows: list[bytes] = field(default_factory=list)
    banned: bool = False


@dataclass(frozen=True)
class RepeatDetector:
    """Stands in for detectors that do not ask who sends: closes whoever repeats anybody's image."""

    needs_outputs = False
    scope: Scope = "global"

    def features(self, images: np.ndarray) -> FeatureArray:
        return check_images(images).reshape(len(images), PIXELS)

    def new_memory(self) -> Seen:
        return Seen()

    def update(self, memory: Seen, features: FeatureArray, outputs: OutputArray | None = None) -> Verdict:
        nearest: list[int] = []
        banned_at = None
        for place, row in enumerate(features):
            key = row.tobytes()
            nearest.append(memory.rows.index(key) if key in memory.rows else -1)
            memory.rows.append(key)
            if nearest[-1] >= 0:
                banned_at = place
                break
        places = np.array(nearest, np.int64)
        return Verdict((places >= 0).astype(np.int64), np.where(places >= 0, 0.0, np.inf), places, banned_at)

    def dump(self, memory: Seen) -> Arrays:
        rows = [np.frombuffer(row, np.float32) for row in memory.rows]
        return {"rows": np.stack(rows) if rows else np.zeros((0, 0), np.float32)}

    def restore(self, state: Mapping[str, np.ndarray]) -> Seen:
        return Seen([row.tobytes() for row in state["rows"]])


@dataclass(frozen=True)
class Row:
    """A detector and what to test it with."""

    name: str
    detector: Detector[Any]
    theft: ImageArray
    """A stream that closes the account before its last query."""
    stream: Callable[[Sequence[int]], ImageArray] = pictures
    """Images for any sequence of codes 0..23, some of which close the account."""


ENCODER = LinearEncoder()
VARIANTS = pictures([0, 1, 2, 3] * 4)
AXES = principal_axes(ENCODER(PROTOTYPES), 3)

ONE = LinearEncoder(3, 1)
LIKELY = ONE(PROTOTYPES)[:, 0]
LOW = [int(LIKELY.argmin()) * 4 + variant for variant in range(4)]
"""Codes of the least likely prototype."""

ROWS = [
    Row("similarity", SimilarityDetector(ENCODER, delta=0.1, flags_to_ban=6, axes=AXES), VARIANTS),
    Row("similarity-scan", SimilarityDetector(ENCODER, delta=0.02, flags_to_ban=4), VARIANTS),
    Row("similarity-pairs", SimilarityDetector(ENCODER, 0.1, "pairs", 8, axes=AXES[:1]), VARIANTS),
    Row("similarity-wiped", SimilarityDetector(ENCODER, 0.1, "queries", 5, capacity=4, axes=AXES), VARIANTS),
    Row("likelihood", LikelihoodDetector(ONE, float(np.median(LIKELY)), -1.0, warmup=6), pictures(LOW * 4)),
    Row(
        "likelihood-error",
        LikelihoodDetector(
            ONE, float(np.median(LIKELY)), -2.0, 3, spread="error", sides="two", flags_to_ban=3, capacity=5
        ),
        pictures(LOW * 4),
    ),
    Row("prada", PradaDetector(0.95, SHAPE, every=2, least_per_class=3, least=4), VARIANTS),
    Row("prada-twice", PradaDetector(0.99, SHAPE, 2, every=1, least_per_class=2, least=2), VARIANTS),
    Row("stateful", StatefulDetector(ENCODER, 0.05, neighbours=4), VARIANTS),
    Row("stateful-wiped", StatefulDetector(ENCODER, 0.2, neighbours=2, flags_to_ban=4, capacity=6), VARIANTS),
    Row("blacklight", BlacklightDetector(0.5, SHAPE, window=3, hashes=6), VARIANTS),
    Row("blacklight-quota", BlacklightDetector(0.5, SHAPE, window=3, hashes=6, flags_to_ban=3), VARIANTS),
    Row("outliers", OutlierDetector(ONE, float(np.median(LIKELY)), flags_to_ban=5), pictures(LOW * 4)),
    Row("hoda", HodaDetector(Thirds(), np.array([0.2, 0.5, 0.3]), 0.5, window=5), pictures(LOW * 4)),
    Row("same-answer", SameAnswerDetector(), VARIANTS),
    Row("repeat", RepeatDetector(), VARIANTS),
]
