"""A calibrated detector on disk: `encoder.onnx`, `arrays.safetensors`, `bundle.json`. No pickle, no torch."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from redhanded.detectors.calibrate import Calibration
from redhanded.detectors.encoder import OnnxEncoder
from redhanded.detectors.similarity import SimilarityDetector
from redhanded.errors import RedhandedError

FORMAT = 1
MANIFEST, ENCODER, ARRAYS = "bundle.json", "encoder.onnx", "arrays.safetensors"


def save_bundle(
    directory: Path, detector: SimilarityDetector, calibration: Calibration, provenance: dict[str, Any]
) -> None:
    """Write a detector whose encoder is an `OnnxEncoder`; `provenance` says what tuned it.

    The manifest carries the digests of the other files and its own, and is written last, so a bundle
    without a manifest is an unfinished one.
    """
    if not isinstance(detector.encoder, OnnxEncoder):
        raise RedhandedError("encoder: only an ONNX encoder can be bundled; export it first")
    directory.mkdir(parents=True, exist_ok=True)
    axes = np.zeros((0, detector.encoder.dimensions), np.float32) if detector.axes is None else detector.axes
    files = {ENCODER: detector.encoder.graph, ARRAYS: save({"axes": np.ascontiguousarray(axes)})}
    for name, content in files.items():
        (directory / name).write_bytes(content)
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "detector": "similarity",
        "delta": detector.delta,
        "count": detector.count,
        "flags_to_ban": detector.flags_to_ban,
        "capacity": detector.capacity,
        "image_shape": list(detector.encoder.image_shape),
        "calibration": asdict(calibration),
        "provenance": provenance,
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    manifest["sha256"][MANIFEST] = _manifest_digest(manifest)
    partial = directory / f"{MANIFEST}.partial"
    partial.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    partial.replace(directory / MANIFEST)


def _manifest_digest(manifest: dict[str, Any]) -> str:
    """Return the SHA-256 of everything in the manifest but this digest: a flipped digit moves a threshold."""
    sha256 = {name: digest for name, digest in manifest["sha256"].items() if name != MANIFEST}
    content = json.dumps({**manifest, "sha256": sha256}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def read_manifest(directory: Path) -> dict[str, Any]:
    """Return the manifest; raises `RedhandedError` if there is none, or if a file's digest does not match."""
    path = directory / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RedhandedError(
            f"bundle: {directory} holds no {MANIFEST}; make one with `redhanded calibrate`"
        ) from error
    except (ValueError, OSError) as error:
        raise RedhandedError(f"bundle: {path} cannot be read ({error}); make it again") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else None
        raise RedhandedError(f"bundle: {path} has format {found}, this version reads {FORMAT}; make it again")
    digests = manifest.get("sha256")
    if not isinstance(digests, dict):
        raise RedhandedError(f"bundle: {path} lists no digests; make it again")
    for name in (MANIFEST, ENCODER, ARRAYS):
        file = directory / name
        if not file.is_file():
            raise RedhandedError(f"bundle: {file} is missing; copy the whole bundle again")
        content = file.read_bytes()
        found = _manifest_digest(manifest) if name == MANIFEST else hashlib.sha256(content).hexdigest()
        if found != digests.get(name):
            raise RedhandedError(
                f"bundle: the digest of {file} does not match {MANIFEST}; the file was changed or cut short, "
                "copy the whole bundle again"
            )
    return manifest


def load_bundle(directory: Path | str) -> SimilarityDetector:
    """Read a bundle, checking every digest; raises `RedhandedError` if anything does not fit."""
    directory = Path(directory)
    manifest = read_manifest(directory)
    try:
        axes = load_file(directory / ARRAYS)["axes"]
    except (SafetensorError, KeyError) as error:
        raise RedhandedError(f"bundle: {directory / ARRAYS} is damaged ({error}); copy it again") from error
    return SimilarityDetector(
        encoder=OnnxEncoder((directory / ENCODER).read_bytes()),
        delta=float(manifest["delta"]),
        count=manifest["count"],
        flags_to_ban=int(manifest["flags_to_ban"]),
        capacity=manifest["capacity"],
        axes=axes,
    )
