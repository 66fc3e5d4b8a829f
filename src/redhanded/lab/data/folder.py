"""A user's own images, read from a folder."""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from redhanded.errors import RedhandedError
from redhanded.types import ImageArray, Int

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
"""What Pillow raises at a file it cannot read."""


@dataclass(frozen=True)
class ImageFolder:
    """Images in the order of their paths."""

    images: ImageArray
    labels: Int[np.ndarray, " n"] | None
    """Places in `classes`; None if the folder is not sorted into classes."""
    classes: tuple[str, ...]
    """Names of the subfolders; empty without labels."""
    paths: tuple[Path, ...]


def read_images(directory: Path, size: int = 32) -> ImageFolder:
    """Read every image below `directory` as RGB float32 [n, 3, size, size] in [0, 1], sorted by path.

    The whole image is resized (bilinear), nothing is cropped; hidden files and other files are passed over.
    Where all images lie in two or more subfolders, each subfolder is a class, in the order of the names (of
    the numbers, if all names are numbers). Raises `RedhandedError` if the folder is missing or empty, if a
    class is empty, or if a file is broken.
    """
    if size < 1:
        raise RedhandedError(f"size: expected 1 or more pixels, got {size}")
    if not directory.is_dir():
        raise RedhandedError(f"images: {directory} is not a directory; give one that holds images")
    paths = _find(directory)
    if not paths:
        raise RedhandedError(f"images: {directory} holds no images ({', '.join(sorted(SUFFIXES))})")
    classes = _classes(directory, paths)
    images = np.empty((len(paths), 3, size, size), np.float32)
    for row, path in enumerate(paths):
        images[row] = _read(path, size)
    labels = np.array([classes.index(_top(directory, path)) for path in paths], np.int64) if classes else None
    return ImageFolder(images, labels, classes, tuple(paths))


def _find(directory: Path) -> list[Path]:
    places = {path.relative_to(directory): path for path in directory.rglob("*")}
    return [
        places[place]
        for place in sorted(places, key=lambda place: place.parts)
        if place.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in place.parts)
        and places[place].is_file()
    ]


def _top(directory: Path, path: Path) -> str:
    return path.relative_to(directory).parts[0]


def _classes(directory: Path, paths: list[Path]) -> tuple[str, ...]:
    names = [path.name for path in directory.iterdir() if path.is_dir() and not path.name.startswith(".")]
    if len(names) < 2 or any(path.parent == directory for path in paths):
        return ()
    empty = sorted(set(names) - {_top(directory, path) for path in paths})
    if empty:
        raise RedhandedError(
            f"images: subfolder {empty[0]} of {directory} holds no images; "
            "remove it, or fill it, as each subfolder is a class"
        )
    if all(name.isascii() and name.isdigit() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def _read(path: Path, size: int) -> np.ndarray:
    try:
        with Image.open(path) as picture:
            if picture.mode.startswith(("I", "F")):  # conversion to RGB would clip them to white
                raise RedhandedError(
                    f"images: {path} has more than 8 bits a channel; convert it to 8-bit RGB"
                )
            opaque = picture.convert("RGBA") if "transparency" in picture.info else picture
            resized = opaque.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
    except BROKEN as error:
        raise RedhandedError(f"images: cannot read {path}: {error}") from error
    return np.asarray(resized, np.float32).transpose(2, 0, 1) / np.float32(255)
