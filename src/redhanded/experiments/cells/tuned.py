"""What every calibration does: one pass over a benign stream, a threshold, and the tuned detector on disk."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from redhanded.detectors import Detector, load_bundle, save_bundle
from redhanded.detectors.bundle import bundle_digest, detector_fields, read_manifest
from redhanded.detectors.calibrate import StatisticCalibration, calibrate
from redhanded.detectors.encoder import OnnxEncoder
from redhanded.detectors.pairs import Calibration
from redhanded.experiments.cells.datasets import as_floats
from redhanded.experiments.runner.store import Record
from redhanded.files import whole
from redhanded.lab.training import Progress
from redhanded.types import FeatureArray, ImageArray, OutputArray, UInt8

CHUNK = 1024
"""Images embedded at once."""
BUNDLE = "bundle"
"""The folder of the bundle among a cell's artefacts."""
SETTINGS, ARRAYS = "detector.json", "detector.safetensors"
"""What stands for it where the encoder could not be exported."""

Answers = Callable[[ImageArray], OutputArray | None]
"""What the victim answers, for a detector that judges by it."""


@dataclass(frozen=True)
class Tuned:
    """A detector whose threshold was found, and how."""

    detector: Any
    calibration: Calibration | StatisticCalibration
    embedding_seconds: float
    tuning_seconds: float

    def keep(self, folder: Path, provenance: Record) -> Record:
        """Write what `load_tuned` reads, and return what a record says of it.

        That is a bundle, unless the encoder could not be exported: then `load_tuned` asks for it again.
        """
        found = asdict(self.calibration) | {
            "embedding_seconds": round(self.embedding_seconds, 2),
            "tuning_seconds": round(self.tuning_seconds, 2),
        }
        own = {f.name: getattr(self.detector, f.name) for f in fields(self.detector) if f.name != "encoder"}
        plain = bool | int | float | str
        found["settings"] = {name: value for name, value in own.items() if isinstance(value, plain)}
        if isinstance(getattr(self.detector, "encoder", None), OnnxEncoder | None):
            save_bundle(folder / BUNDLE, self.detector, self.calibration, provenance)
            return found | digest_of(folder)
        arrays = {name: value for name, value in own.items() if isinstance(value, np.ndarray)}
        with whole(folder / ARRAYS) as partial:
            save_file(arrays, partial)
        settings = {name: value for name, value in own.items() if name not in arrays}
        with whole(folder / SETTINGS) as partial:
            partial.write_text(json.dumps(settings), encoding="utf-8")
        return found


def tune(
    untuned: Detector[Any],
    images: UInt8[np.ndarray, "n h w c"],
    answers: Answers,
    progress: Progress,
    *,
    fpr: float,
    own: int | None = None,
) -> Tuned:
    """Tune a detector on a benign stream of bytes [n, h, w, c], in the order in which it is sent.

    What is fitted besides the threshold is fitted to the first `own` images, of the victim's kind; None: all.
    """
    began = time.perf_counter()
    features, outputs = one_pass(untuned, images, answers, progress)
    embedded = time.perf_counter()
    tuned, calibration = calibrate(untuned, features, outputs, fpr=fpr, own=features[:own])
    return Tuned(tuned, calibration, embedded - began, time.perf_counter() - embedded)


def one_pass(
    detector: Detector[Any], images: UInt8[np.ndarray, "n h w c"], answers: Answers, progress: Progress
) -> tuple[FeatureArray, OutputArray | None]:
    """Embed a stream once; return features, and the victim's answers for a detector that wants them."""
    parts, answered = [], []
    for at in range(0, len(images), CHUNK):
        chunk = as_floats(images[at : at + CHUNK])
        parts.append(detector.features(chunk))
        if detector.needs_outputs and (outputs := answers(chunk)) is not None:
            answered.append(outputs)
        progress(min(at + CHUNK, len(images)), len(images))
    return np.concatenate(parts), np.concatenate(answered) if answered else None


def load_tuned(folder: Path, untuned: Callable[[], Detector[Any]]) -> Detector[Any]:
    """Return the detector that was kept in a folder; `untuned` makes what no bundle there could hold."""
    bundle = folder / BUNDLE
    if bundle.is_dir():
        try:
            return load_bundle(bundle)
        except ModuleNotFoundError:  # a machine without ONNX Runtime goes through PyTorch
            found = detector_fields(bundle, read_manifest(bundle))
    else:
        written = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        found = {name: tuple(value) if isinstance(value, list) else value for name, value in written.items()}
        found |= load_file(folder / ARRAYS)
    parts: Any = untuned()
    tuned: Detector[Any] = replace(parts, **found)
    return tuned


def digest_of(folder: Path) -> Record:
    """Return what a record says of the bundle in a folder; nothing where there is none."""
    bundle = folder / BUNDLE
    return {"bundle_digest": bundle_digest(bundle)} if bundle.is_dir() else {}
