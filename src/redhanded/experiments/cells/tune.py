"""Any detector tuned on one benign stream, from which near-duplicates were taken out."""

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from redhanded.detectors import Detector
from redhanded.detectors.distinct import RADIUS, deduplicate
from redhanded.experiments.cells.base import Keyed
from redhanded.experiments.cells.calibrate import benign_stream, stream_name
from redhanded.experiments.cells.datasets import Data
from redhanded.experiments.cells.judges import Judge
from redhanded.experiments.cells.tuned import load_tuned, tune
from redhanded.experiments.runner.context import Cell, Context
from redhanded.experiments.runner.store import Record
from redhanded.files import whole
from redhanded.types import ImageArray, OutputArray, UInt8


@dataclass(frozen=True)
class Distinct(Keyed):
    """A benign stream without near-duplicates, in the order in which it is sent."""

    world: str
    stream: tuple[Data, ...]
    radius: float = RADIUS
    seed: int = 0

    @property
    def label(self) -> str:
        return f"distinct-{self.world}-{'+'.join(part.name for part in self.stream)}-{self.seed}"

    def described(self) -> Record:
        return {"kind": "stream", "world": self.world, "stream": stream_name(self.stream), "seed": self.seed}

    def run(self, context: Context) -> Record:
        """Find what is near to an earlier image."""
        kept, report = deduplicate(benign_stream(self.stream, self.seed), self.radius)
        with whole(context.store.scratch(self) / "kept.npy") as partial, partial.open("wb") as file:
            np.save(file, kept)
        return asdict(report)

    def load(self, context: Context) -> UInt8[np.ndarray, "n h w c"]:
        return np.asarray(benign_stream(self.stream, self.seed)[self._kept(context)])

    def _kept(self, context: Context) -> np.ndarray:
        return np.asarray(np.load(context.artefact(self) / "kept.npy"))

    def leading(self, sets: int, context: Context) -> int:
        """Return how many images of the first so many sets were kept."""
        length = sum(len(part.load()) for part in self.stream[:sets])
        return int(self._kept(context)[:length].sum())


@dataclass(frozen=True)
class Tune(Keyed):
    """Tune a detector's threshold to a false-positive rate, and write its bundle."""

    world: str
    judge: Judge
    stream: tuple[Data, ...]
    fpr: float = 1e-4
    seed: int = 0

    version: ClassVar[int] = 2
    """2: exact intervals where a flag is a ban."""

    @property
    def distinct(self) -> Distinct:
        """The stream that tunes every detector of the world."""
        return Distinct(self.world, self.stream, seed=self.seed)

    @property
    def needs(self) -> tuple[Cell, ...]:
        return (*super().needs, self.distinct)

    @property
    def title(self) -> str:
        return self.judge.title

    @property
    def answering(self) -> tuple[Cell, ...]:
        return self.judge.answering

    @property
    def flags_to_ban(self) -> int:
        return self.judge.flags_to_ban

    @property
    def label(self) -> str:
        return f"tuning-{self.world}-{self.title}-{self.seed}"

    @property
    def _detector(self) -> Record:
        return {"world": self.world, "detector": self.title, "flags_to_ban": self.flags_to_ban}

    def detector_fields(self) -> Record:
        return self._detector | {"calibration_key": self.key}

    def described(self) -> Record:
        return self._detector | {
            "kind": "calibration",
            "stream": stream_name(self.stream),
            "target": self.fpr,
            "seed": self.seed,
        }

    def run(self, context: Context) -> Record:
        """Pass once over the stream, tune, and write the bundle."""
        images, sets = self.distinct.load(context), self.judge.own_sets
        own = None if sets is None else self.distinct.leading(sets, context)
        untuned, answers = self.judge.make(context), partial(self.outputs, context=context)
        with context.reporter(f"{self.label}: embedding") as progress:
            tuned = tune(untuned, images, answers, progress, fpr=self.fpr, own=own)
        return tuned.keep(context.store.scratch(self), self.described())

    def load(self, context: Context) -> Detector[Any]:
        return load_tuned(context.artefact(self), partial(self.judge.make, context))

    def outputs(self, images: ImageArray, context: Context) -> OutputArray | None:
        return self.judge.outputs(images, context)
