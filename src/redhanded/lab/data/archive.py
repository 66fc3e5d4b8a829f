"""The image cache, `<root>/<name>/<split>.npz`: 32x32 RGB images in lossless WebP sheets. No pickle.

Arrays of a file: `labels` uint16 [n], `classes` (names, index = label), `webp` uint8 (the sheets, one after
the other), `ends` int64 (where each sheet ends in `webp`), and any number of uint8 columns [n]. A sheet is a
grid of up to 32x32 tiles of 32x32 pixels, filled row by row; the last is padded with black tiles.
"""

import io
import itertools
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from redhanded.errors import RedhandedError
from redhanded.files import whole
from redhanded.lab.data.images import SHEET, SIDE, ImageSet
from redhanded.types import UInt8

ENVIRONMENT = "REDHANDED_DATA"


def data_root() -> Path:
    """Return `$REDHANDED_DATA`, by default `~/.cache/redhanded`."""
    chosen = os.environ.get(ENVIRONMENT)
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "redhanded"


def available(root: Path | None = None) -> list[tuple[str, str]]:
    """Return the sorted (name, split) pairs that `load` can read."""
    return sorted((path.parent.name, path.stem) for path in (root or data_root()).glob("*/*.npz"))


def load(name: str, split: str = "train", root: Path | None = None) -> ImageSet:
    """Read one split; raises `RedhandedError` if it is unknown, not there, or damaged."""
    root = root or data_root()
    found = available(root)
    # Only listed pairs become a path: a name such as `../..` never leaves the root.
    if (name, split) not in found:
        raise RedhandedError(_missing(name, split, root, found))
    return read_archive(root / name / f"{split}.npz")


def _missing(name: str, split: str, root: Path, found: list[tuple[str, str]]) -> str:
    from redhanded.lab.data.sources import SOURCES

    splits = [other for stored, other in found if stored == name]
    if name not in SOURCES and not splits:
        known = ", ".join(sorted({*SOURCES, *(stored for stored, _ in found)}))
        return f"data: unknown data set {name!r}; choose one of {known}"
    official = tuple(SOURCES[name].splits) if name in SOURCES else ()
    if split not in {*official, *splits}:
        return f"data: {name} has no split {split!r}; choose one of {', '.join(sorted({*official, *splits}))}"
    elsewhere = f"set {ENVIRONMENT} to the folder that holds {name}/{split}.npz"
    if name in SOURCES and SOURCES[name].fetchable:
        return f"data: {name}/{split} is not in {root}; run `redhanded data fetch {name}`, or {elsewhere}"
    return f"data: {name}/{split} is not in {root} and has no official download; {elsewhere}"


def read_archive(path: Path) -> ImageSet:
    """Read the archive at `<name>/<split>.npz`; raises `RedhandedError` naming the file if it is damaged."""
    try:
        return _unpack(path.parent.name, path.stem, _arrays(path))
    except FileNotFoundError as error:
        raise RedhandedError(f"data: {path} does not exist; check the path") from error
    # MemoryError: a damaged header can ask for an array of any size.
    except (KeyError, ValueError, EOFError, OSError, MemoryError, zlib.error, zipfile.BadZipFile) as error:
        reason = f"no array {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
        raise RedhandedError(
            f"data: {path} is damaged ({' '.join(reason.split())}); delete it and fetch or copy it again"
        ) from error


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with path.open("rb") as file:
        archive = np.load(file, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("not an .npz file")  # noqa: TRY004 -- about the file, not about a caller's type
        with archive:
            return {key: archive[key] for key in archive.files}


def _unpack(name: str, split: str, arrays: dict[str, np.ndarray]) -> ImageSet:
    labels, classes, webp, ends = (arrays.pop(key) for key in ("labels", "classes", "webp", "ends"))
    _expect("labels", labels, np.uint16)
    _expect("webp", webp, np.uint8)
    _expect("ends", ends, np.int64)
    count = len(labels)
    for key, column in arrays.items():
        _expect(key, column, np.uint8, count)
    if classes.ndim != 1 or classes.dtype.kind != "U":
        raise ValueError("classes is not a list of names")
    if count and labels.max() >= len(classes):
        raise ValueError(f"label {labels.max()} of {len(classes)} classes")
    bounds = [0, *ends.tolist()]
    if bounds[-1] != len(webp) or np.any(np.diff(bounds) <= 0):
        raise ValueError(f"the ends of the sheets do not match the {len(webp)} bytes of webp")
    sheets = (webp[start:end].tobytes() for start, end in itertools.pairwise(bounds))
    names = tuple(str(name) for name in classes)
    return ImageSet(name, split, _tiles(sheets, count), labels.astype(np.int64), names, extra=arrays)


def _expect(key: str, array: np.ndarray, dtype: type[np.generic], count: int | None = None) -> None:
    if array.dtype != dtype or array.ndim != 1 or len(array) != (len(array) if count is None else count):
        wanted = "n" if count is None else count
        raise ValueError(f"{key} is {array.dtype} {array.shape}, not {np.dtype(dtype)} [{wanted}]")


def _tiles(sheets: Iterator[bytes], count: int) -> UInt8[np.ndarray, "n 32 32 3"]:
    images = np.empty((count, SIDE, SIDE, 3), np.uint8)
    at = 0
    for sheet in sheets:
        tiles = _decode(sheet)
        # A full sheet everywhere but at the end, and never one that starts beyond the last image.
        if at >= count or len(tiles) < min(SHEET, count - at):
            raise ValueError(f"a sheet of {len(tiles)} tiles at image {at} of {count}")
        images[at : at + len(tiles)] = tiles[: count - at]
        at += len(tiles)
    if at < count:
        raise ValueError(f"{at} of {count} images")
    return images


def _decode(sheet: bytes) -> UInt8[np.ndarray, "tiles 32 32 3"]:
    with Image.open(io.BytesIO(sheet), formats=["WEBP"]) as image:
        width, height = image.size
        if width % SIDE or height % SIDE or max(width, height) > SHEET:
            raise ValueError(f"a sheet of {width}x{height} pixels")
        pixels = np.asarray(image.convert("RGB"))
    rows, columns = height // SIDE, width // SIDE
    tiles = pixels.reshape(rows, SIDE, columns, SIDE, 3).swapaxes(1, 2)
    return tiles.reshape(-1, SIDE, SIDE, 3)


def write_archive(path: Path, image_set: ImageSet) -> None:
    """Pack to `<name>/<split>.npz`: the same set gives the same bytes; a reader never sees half a file.

    About 1.7 kB an image. Raises `RedhandedError` if the path is not the set's, or if a label has no class.
    """
    _check(path, image_set)
    sheets = [_encode(tiles) for tiles in _sheets(image_set.images)]
    arrays: dict[str, np.ndarray] = {
        "labels": image_set.labels.astype(np.uint16),
        "ends": np.cumsum([len(sheet) for sheet in sheets], dtype=np.int64),
        "webp": np.frombuffer(b"".join(sheets), np.uint8),
        **dict(sorted(image_set.extra.items())),
        "classes": np.array(image_set.classes, dtype=np.str_),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as partial, partial.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _check(path: Path, image_set: ImageSet) -> None:
    if (path.parent.name, path.name) != (image_set.name, f"{image_set.split}.npz"):
        raise RedhandedError(f"path: {path} does not end in {image_set.name}/{image_set.split}.npz")
    count, reserved = len(image_set.labels), {"labels", "ends", "webp", "classes"} & image_set.extra.keys()
    lengths = {len(column) for column in (image_set.images, *image_set.extra.values())}
    if lengths != {count}:
        raise RedhandedError(
            f"images: {len(image_set.images)} images, {count} labels; give one of each an image"
        )
    if reserved:
        raise RedhandedError(f"extra: {', '.join(sorted(reserved))} is an array of the format; rename it")
    if len(image_set.classes) > np.iinfo(np.uint16).max:
        raise RedhandedError(f"classes: {len(image_set.classes)} classes; the format holds 65,535")
    if count and not 0 <= image_set.labels.min() <= image_set.labels.max() < len(image_set.classes):
        raise RedhandedError(f"labels: a label is outside 0..{len(image_set.classes) - 1}; name every class")


def _sheets(images: UInt8[np.ndarray, "n 32 32 3"]) -> Iterator[UInt8[np.ndarray, "tiles 32 32 3"]]:
    for start in range(0, len(images), SHEET):
        tiles = images[start : start + SHEET]
        padding = np.zeros((-len(tiles) % SIDE, SIDE, SIDE, 3), np.uint8)
        yield np.concatenate([tiles, padding])


def _encode(tiles: UInt8[np.ndarray, "tiles 32 32 3"]) -> bytes:
    grid = tiles.reshape(-1, SIDE, SIDE, SIDE, 3).swapaxes(1, 2)
    buffer = io.BytesIO()
    # Quality is the effort here; 100 takes ten times as long and saves 1%.
    image = Image.fromarray(np.ascontiguousarray(grid.reshape(-1, SHEET, 3)))
    image.save(buffer, "WEBP", lossless=True, quality=75, method=6)
    return buffer.getvalue()
