"""Any detector tuned on one benign stream, from which near-duplicates were taken out."""

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays

from redhanded.detectors import Detector, load_bundle, save_bundle
from redhanded.detectors.calibrate import calibrate
from redhanded.detectors.distinct import RADIUS, deduplicate
from redhanded.detectors.encoder import OnnxEncoder
from redhanded.experiments.cells.base import Keyed
from redhanded.experiments.cells.calibrate import benign_stream, stream_name
from redhanded.experiments.cells.datasets import Data, as_floats
from redhanded.experiments.cells.judges import Judge
from redhanded.experiments.runner.context import Cell, Context
from redhanded.experiments.runner.store import Record
from redhanded.lab.training import Progress
from redhanded.types import FeatureArray, ImageArray, OutputArray, UInt8

CHUNK = 1024
"""Images embedded at once."""


@dataclass(frozen=True)
class Distinct(Keyed):
    """A benign stream without near-duplicates, in the order in which it is sent."""

    world: str
    stream: tuple[Data, ...]
    radius: float = RADIUS
    seed: int = 0

    version: ClassVar[int] = 1
    resumes: ClassVar[bool] = False
    needs: ClassVar[tuple[Cell, ...]] = ()

    @property
    def label(self) -> str:
        """A readable file name."""
        return f"distinct-{self.world}-{'+'.join(part.name for part in self.stream)}-{self.seed}"

    def described(self) -> Record:
        """Return every varied field, flat."""
        return {
            "kind": "stream",
            "world": self.world,
            "stream": stream_name(self.stream),
            "seed": self.seed,
        }

    def run(self, context: Context) -> Record:
        """Find what is near to an earlier image."""
        kept, report = deduplicate(benign_stream(self.stream, self.seed), self.radius)
        np.save(context.store.scratch(self) / "kept.npy", kept)
        return asdict(report)

    def load(self, context: Context) -> UInt8[np.ndarray, "n h w c"]:
        """Return the images as bytes."""
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
    resumes: ClassVar[bool] = False

    @property
    def distinct(self) -> Distinct:
        """The stream that tunes every detector of the world."""
        return Distinct(self.world, self.stream, seed=self.seed)

    @property
    def needs(self) -> tuple[Cell, ...]:
        """What it judges with, and the stream."""
        return (*self.judge.needs, self.distinct)

    @property
    def title(self) -> str:
        """The detector."""
        return self.judge.title

    @property
    def answering(self) -> tuple[Cell, ...]:
        """The victim, if the detector judges by its answers."""
        return self.judge.answering

    @property
    def flags_to_ban(self) -> int:
        """Flags that close an account."""
        return self.judge.flags_to_ban

    @property
    def label(self) -> str:
        """A readable file name."""
        return f"tuning-{self.world}-{self.title}-{self.seed}"

    def detector_fields(self) -> Record:
        """Return what a detection's record says of the detector."""
        return {
            "world": self.world,
            "detector": self.title,
            "flags_to_ban": self.flags_to_ban,
            "calibration_key": self.key,
        }

    def described(self) -> Record:
        """Return every varied field, flat."""
        return {
            "kind": "calibration",
            "world": self.world,
            "detector": self.title,
            "flags_to_ban": self.flags_to_ban,
            "stream": stream_name(self.stream),
            "target": self.fpr,
            "seed": self.seed,
        }

    def run(self, context: Context) -> Record:
        """Pass once over the stream, tune, and write the bundle."""
        images = self.distinct.load(context)
        untuned = self.judge.make(context)
        began = time.perf_counter()
        with context.reporter(f"{self.label}: embedding") as progress:
            chunks = (as_floats(images[at : at + CHUNK]) for at in range(0, len(images), CHUNK))
            features, outputs = one_pass(untuned, self.judge, chunks, len(images), context, progress)
        embedded = time.perf_counter()
        sets = self.judge.own_sets
        own = features if sets is None else features[: self.distinct.leading(sets, context)]
        tuned, calibration = calibrate(untuned, features, outputs, fpr=self.fpr, own=own)
        seconds = time.perf_counter() - embedded
        self._save(tuned, calibration, context)
        found = asdict(calibration)
        del found["target"], found["flags_to_ban"]
        return found | {
            "embedding_seconds": round(embedded - began, 2),
            "tuning_seconds": round(seconds, 2),
            "settings": {
                f.name: value
                for f in fields(tuned)  # type: ignore[arg-type]
                if isinstance(value := getattr(tuned, f.name), bool | int | float | str)
            },
        }

    def _save(self, tuned: Any, calibration: Any, context: Context) -> None:
        """Write the parts that `load` puts together, and the bundle unless its encoder cannot be exported."""
        scratch = context.store.scratch(self)
        if isinstance(getattr(tuned, "encoder", None), OnnxEncoder) or not hasattr(tuned, "encoder"):
            save_bundle(scratch / "bundle", tuned, calibration, self.described())
        own = {f.name: getattr(tuned, f.name) for f in fields(tuned) if f.name != "encoder"}
        arrays = {name: value for name, value in own.items() if isinstance(value, np.ndarray)}
        save_arrays(arrays, scratch / "detector.safetensors")
        settings = {name: value for name, value in own.items() if name not in arrays}
        (scratch / "detector.json").write_text(json.dumps(settings), encoding="utf-8")

    def load(self, context: Context) -> Detector[Any]:
        """Return the tuned detector."""
        folder = context.artefact(self)
        if (folder / "bundle").is_dir():
            try:
                found: Detector[Any] = load_bundle(folder / "bundle")
            except ModuleNotFoundError:  # a machine without ONNX Runtime goes through PyTorch
                pass
            else:
                return found
        written = json.loads((folder / "detector.json").read_text(encoding="utf-8"))
        settings = {k: tuple(v) if isinstance(v, list) else v for k, v in written.items()}
        parts: Any = replace(self.judge.make(context), **settings)  # type: ignore[type-var]
        tuned: Detector[Any] = replace(parts, **load_arrays(folder / "detector.safetensors"))
        return tuned

    def outputs(self, images: ImageArray, context: Context) -> OutputArray | None:
        """Return the victim's answers, if the detector judges by them."""
        return self.judge.outputs(images, context)


def one_pass(
    detector: Detector[Any],
    judge: Judge,
    chunks: Iterable[ImageArray],
    length: int,
    context: Context,
    progress: Progress,
) -> tuple[FeatureArray, OutputArray | None]:
    """Pass over a stream once; return features, and the victim's answers for a detector that wants them."""
    parts, answers = [], []
    done = 0
    for chunk in chunks:
        parts.append(detector.features(chunk))
        answered = judge.outputs(chunk, context) if detector.needs_outputs else None
        answers += [] if answered is None else [answered]
        done += len(chunk)
        progress(done, length)
    return np.concatenate(parts), np.concatenate(answers) if answers else None
