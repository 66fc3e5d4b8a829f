"""A calibrated detector on disk: `encoder.onnx`, `arrays.safetensors`, `bundle.json`. No pickle, no torch."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from redhanded.detectors import blacklight, hoda, likelihood, outliers, prada, similarity, stateful
from redhanded.detectors.base import Detector
from redhanded.detectors.calibrate import StatisticCalibration
from redhanded.detectors.encoder import OnnxEncoder
from redhanded.detectors.pairs import Calibration
from redhanded.detectors.statistic import CountingDetector
from redhanded.errors import RedhandedError
from redhanded.files import whole

FORMAT = 2
"""2: any detector; its settings in a table of their own."""
MANIFEST, ENCODER, ARRAYS = "bundle.json", "encoder.onnx", "arrays.safetensors"
KINDS: dict[str, type[CountingDetector[Any]]] = {
    "similarity": similarity.SimilarityDetector,
    "likelihood": likelihood.LikelihoodDetector,
    "prada": prada.PradaDetector,
    "stateful": stateful.StatefulDetector,
    "blacklight": blacklight.BlacklightDetector,
    "outliers": outliers.OutlierDetector,
    "hoda": hoda.HodaDetector,
}
"""Detectors by the names that arrive from outside."""


def save_bundle(
    directory: Path,
    detector: Detector[Any],
    calibration: Calibration | StatisticCalibration,
    provenance: dict[str, Any],
) -> None:
    """Write a detector of `KINDS`, whose encoder, if any, is an `OnnxEncoder`; `provenance`: what tuned it.

    Its fields become the encoder's graph, arrays, and settings in the manifest. That carries the digests of
    the other files and its own, and is written last: a bundle without it is an unfinished one.
    """
    kind = next((name for name, made in KINDS.items() if type(detector) is made), None)
    if kind is None:
        raise RedhandedError(
            f"detector: {type(detector).__name__} cannot be bundled; choose from {', '.join(KINDS)}"
        )
    graph, arrays, settings = b"", {}, {}
    for name, value in ((f.name, getattr(detector, f.name)) for f in fields(detector)):  # type: ignore[arg-type]
        if name == "encoder":
            if not isinstance(value, OnnxEncoder):
                raise RedhandedError("encoder: only an ONNX encoder can be bundled; export it first")
            graph = value.graph
        elif isinstance(value, np.ndarray):
            arrays[name] = np.ascontiguousarray(value)
        else:
            settings[name] = value
    files = {ARRAYS: save(arrays)} | ({ENCODER: graph} if graph else {})
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "detector": kind,
        "settings": settings,
        "image_shape": list(detector.encoder.image_shape if graph else detector.image_shape),  # type: ignore[attr-defined]
        "calibration": asdict(calibration),
        "provenance": provenance,
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    manifest["sha256"][MANIFEST] = _manifest_digest(manifest)
    _write(directory, files | {MANIFEST: (json.dumps(manifest, indent=2) + "\n").encode()})


def copy_bundle(source: Path, target: Path) -> None:
    """Copy a bundle byte for byte, in place of what was there; raises `RedhandedError` if it is not whole."""
    read_manifest(source)
    if target.resolve() != source.resolve():
        _write(target, {file.name: file.read_bytes() for file in _files(source) if file.is_file()})


def _files(directory: Path) -> list[Path]:
    return [directory / name for name in (ARRAYS, ENCODER, MANIFEST)]  # in the order of writing


def _write(directory: Path, contents: Mapping[str, bytes]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for file in reversed(_files(directory)):  # of an earlier bundle, which may have had an encoder
        file.unlink(missing_ok=True)
    for name, content in contents.items():
        with whole(directory / name) as partial:
            partial.write_bytes(content)


def _manifest_digest(manifest: dict[str, Any]) -> str:
    """Of everything in the manifest but this digest: a flipped digit moves a threshold."""
    sha256 = {name: digest for name, digest in manifest["sha256"].items() if name != MANIFEST}
    content = json.dumps({**manifest, "sha256": sha256}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def bundle_digest(directory: Path) -> str:
    """Return the SHA-256 of arrays, encoder, manifest, each after its length; equal digests, one detector."""
    hashed = hashlib.sha256()
    for file in _files(directory):
        content = file.read_bytes() if file.is_file() else b""
        hashed.update(len(content).to_bytes(8, "big") + content)
    return hashed.hexdigest()


def short(digest: str) -> str:
    """Return as much of a digest as tells the bundles of a table apart."""
    return digest[:12]


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
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found not in (1, FORMAT):
        raise RedhandedError(
            f"bundle: {path} has format {found}, this version reads up to {FORMAT}; make it again"
        )
    digests = manifest.get("sha256")
    if not isinstance(digests, dict):
        raise RedhandedError(f"bundle: {path} lists no digests; make it again")
    for name in (MANIFEST, ARRAYS, *({ENCODER} & digests.keys())):
        file = directory / name
        if not file.is_file():
            raise RedhandedError(f"bundle: {file} is missing; copy the whole bundle again")
        hashed = hashlib.sha256(file.read_bytes()).hexdigest()
        if digests.get(name) != (_manifest_digest(manifest) if name == MANIFEST else hashed):
            raise RedhandedError(
                f"bundle: the digest of {file} does not match {MANIFEST}; the file was changed or cut short, "
                "copy the whole bundle again"
            )
    if manifest["format"] == 1:  # similarity alone, its settings among the rest
        names = ("delta", "count", "flags_to_ban", "capacity")
        manifest["settings"] = {name: manifest[name] for name in names}
    return manifest


def load_bundle(directory: Path | str) -> CountingDetector[Any]:
    """Return the detector of a bundle; raises `RedhandedError` if a digest or anything else does not fit."""
    directory = Path(directory)
    manifest = read_manifest(directory)
    kind = KINDS.get(manifest["detector"])
    if kind is None:
        raise RedhandedError(
            f"bundle: {directory} holds a {manifest['detector']!r} detector, which this version does not "
            "know; update redhanded or make it again"
        )
    found = detector_fields(directory, manifest)
    if ENCODER in manifest["sha256"]:
        found["encoder"] = OnnxEncoder((directory / ENCODER).read_bytes())
    try:
        return kind(**found)
    except TypeError as error:
        raise RedhandedError(
            f"bundle: {directory / MANIFEST} does not describe a {manifest['detector']} detector ({error}); "
            "make it again"
        ) from error


def detector_fields(directory: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the detector of a bundle, by name, without its encoder."""
    try:
        arrays: dict[str, Any] = load_file(directory / ARRAYS)
    except SafetensorError as error:
        raise RedhandedError(f"bundle: {directory / ARRAYS} is damaged ({error}); copy it again") from error
    # JSON has no tuples
    return arrays | {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in manifest["settings"].items()
    }
