"""A calibrated detector on disk."""

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from redhanded.detectors import (
    BlacklightDetector,
    HodaDetector,
    LikelihoodDetector,
    OutlierDetector,
    PradaDetector,
    SimilarityDetector,
    StatefulDetector,
    load_bundle,
    save_bundle,
)
from redhanded.detectors import bundle as module
from redhanded.detectors.bundle import ARRAYS, ENCODER, KINDS, MANIFEST, read_manifest
from redhanded.detectors.calibrate import StatisticCalibration
from redhanded.detectors.encoder import OnnxEncoder
from redhanded.detectors.index import principal_axes
from redhanded.detectors.pairs import Calibration
from redhanded.errors import RedhandedError

MakeGraph = Callable[..., bytes]
IMAGES = np.random.default_rng(1).random((200, 1, 4, 4), dtype=np.float32)
STATISTIC = StatisticCalibration(-0.3, 1e-4, 1, 20_000, 2, 2, 1e-4, 1e-5, 4e-4, 1e-4, 1e-5, 4e-4)
CALIBRATION = Calibration(0.1 + 0.2, 1e-4, "pairs", 7, 20_000, 99, 1, 0.005, 0.004, 0.006, 5e-5, 1e-5, 2e-4)
ONE_LINE = r"^bundle: [^\n]+$"


def detector_of(graph: bytes, **changed: Any) -> SimilarityDetector:
    settings: dict[str, Any] = {"delta": 0.1 + 0.2, "count": "pairs", "flags_to_ban": 7, "capacity": 1000}
    return SimilarityDetector(OnnxEncoder(graph), **{**settings, **changed})


@pytest.fixture
def bundle(tmp_path: Path, graph: MakeGraph) -> Path:
    detector = detector_of(graph())
    axes = principal_axes(detector.features(IMAGES))
    directory = tmp_path / "deep" / "bundle"
    save_bundle(directory, detector_of(graph(), axes=axes), CALIBRATION, {"world": "demo", "seed": 3})
    return directory


def test_the_measured_detector_is_the_deployed_one(bundle: Path, graph: MakeGraph) -> None:
    measured, deployed = detector_of(graph()), load_bundle(bundle)
    for name in ("delta", "count", "flags_to_ban", "capacity"):
        assert getattr(deployed, name) == getattr(measured, name)  # delta to the last bit
    assert deployed.encoder.digest == measured.encoder.digest
    np.testing.assert_array_equal(deployed.axes, principal_axes(measured.features(IMAGES)))
    stream = np.clip(IMAGES[np.arange(600) % 200 // 3] + np.float32(1e-3), 0, 1)
    one = measured.update(measured.new_memory(), measured.features(stream))
    other = deployed.update(deployed.new_memory(), deployed.features(stream))
    assert one.banned_at == other.banned_at is not None
    np.testing.assert_array_equal(one.scores, other.scores)


@pytest.mark.parametrize("capacity", [None, 500])
def test_a_bundle_without_axes_comes_back_without(
    tmp_path: Path, graph: MakeGraph, capacity: int | None
) -> None:
    saved = detector_of(graph(), capacity=capacity, count="queries")
    save_bundle(tmp_path, saved, CALIBRATION, {})
    loaded = load_bundle(tmp_path)
    assert (loaded.capacity, loaded.count) == (capacity, "queries")
    verdict = loaded.update(loaded.new_memory(), loaded.features(IMAGES[[0, 1, 0]]))
    assert verdict.nearest.tolist() == [-1, -1, 0]


def test_the_manifest_says_what_tuned_it(bundle: Path) -> None:
    manifest = read_manifest(bundle)
    assert Calibration(**manifest["calibration"]) == CALIBRATION
    assert manifest["provenance"] == {"world": "demo", "seed": 3}
    assert manifest["image_shape"] == [1, 4, 4]
    assert sorted(path.name for path in bundle.iterdir()) == sorted([MANIFEST, ENCODER, ARRAYS])


def test_saving_again_replaces_the_bundle(bundle: Path, graph: MakeGraph) -> None:
    save_bundle(bundle, detector_of(graph(seed=5), delta=0.7), CALIBRATION, {})
    assert load_bundle(bundle).delta == 0.7


@pytest.mark.parametrize("name", [ENCODER, ARRAYS])
@pytest.mark.parametrize("place", [0, 0.5, -1])
def test_a_flipped_bit_is_found(bundle: Path, name: str, place: float) -> None:
    content = bytearray((bundle / name).read_bytes())
    content[int(place * len(content)) if place >= 0 else -1] ^= 1
    (bundle / name).write_bytes(content)
    with pytest.raises(RedhandedError, match=rf"^bundle: the digest of [^\n]*{name} does not match [^\n]+$"):
        load_bundle(bundle)


def test_no_flipped_bit_in_the_manifest_changes_the_detector(bundle: Path) -> None:
    """Whatever its place: the bundle is refused in one line, or only white space was flipped."""
    content, manifest = (bundle / MANIFEST).read_bytes(), read_manifest(bundle)
    refused: list[str] = []
    for place in range(0, len(content), 3):
        flipped = bytearray(content)
        flipped[place] ^= 1
        (bundle / MANIFEST).write_bytes(flipped)
        try:
            found = read_manifest(bundle)
        except RedhandedError as error:
            refused.append(str(error))
        else:
            assert found == manifest
    assert len(refused) > 200
    assert all(line.startswith("bundle: ") and "\n" not in line for line in refused)


def edited(bundle: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    manifest = json.loads((bundle / MANIFEST).read_text())
    edit(manifest)
    (bundle / MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "edit",
    [
        lambda manifest: manifest["settings"].update(delta=1.0),
        lambda manifest: manifest["settings"].update(count="neither"),
        lambda manifest: manifest["settings"].pop("delta"),
        lambda manifest: manifest.pop("settings"),
        lambda manifest: manifest.update(detector="prada"),
        lambda manifest: manifest.pop("sha256"),
        lambda manifest: manifest.update(sha256=[]),
        lambda manifest: manifest["sha256"].clear(),
        lambda manifest: manifest.update(format=3),
        lambda manifest: manifest.pop("format"),
    ],
)
def test_an_edited_manifest_is_refused(bundle: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    edited(bundle, edit)
    with pytest.raises(RedhandedError, match=ONE_LINE):
        load_bundle(bundle)


def test_another_format_is_named(bundle: Path) -> None:
    edited(bundle, lambda manifest: manifest.update(format=3))
    with pytest.raises(RedhandedError, match=r"has format 3, this version reads up to 2"):
        load_bundle(bundle)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'"bundle"', b"\xff\xfe\x00", b'{"format": 1}']
)
def test_a_manifest_that_is_none_is_refused(bundle: Path, content: bytes) -> None:
    (bundle / MANIFEST).write_bytes(content)
    with pytest.raises(RedhandedError, match=ONE_LINE):
        load_bundle(bundle)


def test_a_manifest_cut_anywhere_is_refused(bundle: Path) -> None:
    content = (bundle / MANIFEST).read_bytes()
    for length in range(0, len(content.rstrip()), 23):
        (bundle / MANIFEST).write_bytes(content[:length])
        with pytest.raises(RedhandedError, match=ONE_LINE):
            load_bundle(bundle)


@pytest.mark.parametrize("name", [MANIFEST, ENCODER, ARRAYS])
def test_a_missing_file_is_named(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    with pytest.raises(RedhandedError, match=rf"^bundle: [^\n]*{name}[^\n]*$"):
        load_bundle(bundle)


def test_a_directory_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(RedhandedError, match=r"^bundle: [^\n]*nowhere holds no bundle.json"):
        load_bundle(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(RedhandedError, match=ONE_LINE):
        load_bundle(tmp_path / "file")


def test_images_of_another_size_are_refused_by_a_loaded_detector(bundle: Path) -> None:
    with pytest.raises(RedhandedError, match=r"^images: shape \[1, 5, 4\] does not fit the encoder[^\n]+$"):
        load_bundle(bundle).features(np.zeros((1, 1, 5, 4), np.float32))


def test_only_an_onnx_encoder_can_be_bundled(tmp_path: Path, graph: MakeGraph) -> None:
    class Wrapped:
        digest = "d"

        def __call__(self, images: np.ndarray) -> np.ndarray:
            return images.reshape(len(images), -1)

    with pytest.raises(RedhandedError, match=r"^encoder: only an ONNX encoder can be bundled"):
        save_bundle(tmp_path, SimilarityDetector(Wrapped(), 0.1), CALIBRATION, {})
    assert not list(tmp_path.iterdir())


def resealed(bundle: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    """Edit a manifest as an earlier or later version would have written it: with the right digest."""
    manifest = json.loads((bundle / MANIFEST).read_text())
    edit(manifest)
    manifest["sha256"][MANIFEST] = module._manifest_digest(manifest)
    (bundle / MANIFEST).write_text(json.dumps(manifest))


def test_the_first_format_is_read_as_well(bundle: Path) -> None:
    expected = load_bundle(bundle)

    def older(manifest: dict[str, Any]) -> None:
        manifest.update(manifest.pop("settings"), format=1)

    resealed(bundle, older)
    found = load_bundle(bundle)
    assert found.delta == expected.delta
    assert (found.count, found.flags_to_ban, found.capacity) == ("pairs", 7, 1000)
    np.testing.assert_array_equal(found.axes, expected.axes)


def test_a_detector_or_a_setting_that_is_not_known_is_named(bundle: Path) -> None:
    resealed(bundle, lambda manifest: manifest["settings"].update(mood="good"))
    with pytest.raises(RedhandedError, match=r"^bundle: [^\n]+ does not describe a similarity [^\n]*mood"):
        load_bundle(bundle)
    resealed(bundle, lambda manifest: manifest.update(detector="oracle"))
    with pytest.raises(RedhandedError, match=r"^bundle: [^\n]+ holds a 'oracle' detector"):
        load_bundle(bundle)


def every_kind(graph: MakeGraph) -> dict[str, Any]:
    one, several = OnnxEncoder(graph(dimensions=1)), OnnxEncoder(graph())
    shape = (1, 4, 4)
    return {
        "similarity": SimilarityDetector(several, 0.3, "queries", 3),
        "likelihood": LikelihoodDetector(one, 0.5, -0.25, warmup=3, spread="error", sides="two"),
        "prada": PradaDetector(0.9, shape, least=12),
        "stateful": StatefulDetector(several, 1.5, neighbours=3),
        "blacklight": BlacklightDetector(0.5, shape, window=3),
        "outliers": OutlierDetector(one, 0.1, flags_to_ban=3),
        "hoda": HodaDetector(one, np.array([0.4, 0.35, 0.25]), 0.5, window=4),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_detector_is_the_same_after_a_file(tmp_path: Path, graph: MakeGraph, kind: str) -> None:
    saved = every_kind(graph)[kind]
    provenance = {"stream": "somewhere"}
    save_bundle(tmp_path, saved, STATISTIC, provenance)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [MANIFEST, ARRAYS, *([ENCODER] if hasattr(saved, "encoder") else [])]
    )
    loaded, manifest = load_bundle(tmp_path), read_manifest(tmp_path)
    assert type(loaded) is type(saved)
    assert manifest["detector"] == kind
    assert manifest["image_shape"] == [1, 4, 4]
    assert StatisticCalibration(**manifest["calibration"]) == STATISTIC
    for part in fields(saved):
        if part.name != "encoder":
            one, other = getattr(saved, part.name), getattr(loaded, part.name)
            assert type(one) is type(other)
            np.testing.assert_array_equal(one, other)
    if kind == "hoda":
        return  # its features must be degrees; the encoder here gives none
    answers = np.eye(3, dtype=np.float32)[np.arange(200) % 3]
    rows = saved.features(IMAGES)
    np.testing.assert_array_equal(loaded.features(IMAGES), rows)
    one, other = (d.update(d.new_memory(), rows, answers) for d in (saved, loaded))
    assert one.banned_at == other.banned_at
    np.testing.assert_array_equal(one.scores, other.scores)
    with pytest.raises(RedhandedError, match=r"^images: [^\n]+$"):
        loaded.features(np.zeros((1, 1, 5, 4), np.float32))


def test_the_encoder_of_another_bundle_is_refused(bundle: Path, tmp_path: Path, graph: MakeGraph) -> None:
    """A threshold belongs to the space it was tuned in."""
    save_bundle(tmp_path / "other", detector_of(graph(seed=5)), CALIBRATION, {})
    (bundle / ENCODER).write_bytes((tmp_path / "other" / ENCODER).read_bytes())
    with pytest.raises(
        RedhandedError, match=rf"^bundle: the digest of [^\n]*{ENCODER} does not match [^\n]+$"
    ):
        load_bundle(bundle)


def test_a_bundle_that_an_earlier_version_wrote_is_read() -> None:
    loaded = load_bundle(Path(__file__).parent / "stored")
    assert isinstance(loaded, SimilarityDetector)
    assert (loaded.delta, loaded.count, loaded.flags_to_ban, loaded.capacity) == (0.1 + 0.2, "pairs", 7, 1000)
    assert loaded.axes is not None
    assert loaded.axes.shape == (3, 3)
    verdict = loaded.update(loaded.new_memory(), loaded.features(IMAGES[[0, 1, 0, 0]]))
    assert (verdict.counts.tolist(), verdict.nearest.tolist()) == ([0, 0, 1, 2], [-1, -1, 0, 0])
