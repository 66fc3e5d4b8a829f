"""How each official archive becomes images.

Members of tar and zip files are read as streams; nothing is extracted, so no member can choose a path. Larger
images are converted to RGB and resized whole to 32x32 (bilinear, which antialiases in Pillow). Sets that come
as folders are put in a random order, seeded by name and split, so that any prefix is a fair sample.
"""

import functools
import io
import pickle
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, cast

import numpy as np
from numpy._core.multiarray import _reconstruct
from PIL import Image

from redhanded.lab.data.images import SIDE, ImageSet
from redhanded.types import Int, UInt8

Tick = Callable[[int], None]
"""Called with the number of images converted so far."""
Files = Mapping[str, Path]
"""The downloaded files, by their official names."""
Converter = Callable[[str, Files, Tick], Iterator[ImageSet]]
Member = tuple[PurePosixPath, io.BufferedIOBase]


# --- Sets that come as arrays: official order ---------------------------------------------------------------


Split = tuple[str, UInt8[np.ndarray, "n 32 32 3"], Int[np.ndarray, " labels"], tuple[str, ...]]
"""Name, images, labels and classes."""


def _arrays(read: Callable[[Files], Iterator[Split]]) -> Converter:
    """Return the converter that yields what `read` does, where each image has a label."""

    def convert(name: str, files: Files, tick: Tick) -> Iterator[ImageSet]:
        done = 0
        for split, images, labels, classes in read(files):
            if len(labels) != len(images):
                raise ValueError(f"{len(images)} images, {len(labels)} labels")
            done += len(images)
            tick(done)
            yield ImageSet(name, split, np.ascontiguousarray(images), labels.astype(np.int64), classes)

    return convert


def _latin1(text: str, encoding: str) -> bytes:
    """Return the bytes that Python 3 pickles as text for old protocols; no other codec."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"codec {encoding} is not allowed")
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _latin1,
}


class _ArrayUnpickler(pickle.Unpickler):
    """Builds arrays, bytes, text, lists and dictionaries, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed") from None


def cifar(batches: Mapping[str, tuple[str, ...]], meta: str, names: bytes, labels: bytes) -> Converter:
    """Return the reader of pickled `batches` of a split, with class `names` in the file `meta`."""

    def read(files: Files) -> Iterator[Split]:
        wanted = {meta, *(batch for split in batches.values() for batch in split)}
        content = {
            where.name: _ArrayUnpickler(stream, encoding="bytes").load()
            for where, stream in _tar_files(_archive(files))
            if where.name in wanted
        }
        classes = tuple(name.decode() if isinstance(name, bytes) else name for name in content[meta][names])
        for split, parts in batches.items():
            rows = np.concatenate([_rows(content[part][b"data"]) for part in parts])
            targets = np.concatenate([np.array(content[part][labels], np.int64) for part in parts])
            yield split, rows.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1), targets, classes

    return _arrays(read)


def _rows(data: Any) -> UInt8[np.ndarray, "n pixels"]:
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (3 * SIDE * SIDE,):
        raise ValueError("a batch is not uint8 [n, 3072]")
    return data


@_arrays
def svhn(files: Files) -> Iterator[Split]:
    """`X` [32, 32, 3, n] and `y` of `<split>_32x32.mat`."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    for filename, path in files.items():
        try:
            content = loadmat(path, variable_names=["X", "y"])
        except MatReadError as error:
            raise ValueError(f"{filename}: {error}") from error
        images = content["X"].transpose(3, 0, 1, 2)
        if images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE, 3):
            raise ValueError(f"X is {content['X'].dtype} {content['X'].shape}, not uint8 [32, 32, 3, n]")
        labels = content["y"].ravel().astype(np.int64) % 10  # the digit 0 is stored as 10
        yield filename.partition("_")[0], images, labels, tuple("0123456789")


# --- Sets that come as image files: seeded random order -----------------------------------------------------


@dataclass
class Gathered:
    """Images in the order of the archive; keys end in `folder/file` and are unique in a set."""

    tick: Tick
    pixels: bytearray = field(default_factory=bytearray)
    keys: list[str] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)

    def add(
        self, where: PurePosixPath, stream: io.BufferedIOBase, depth: int = 2, title: str | None = None
    ) -> None:
        """Take an image whose key is the last `depth` parts of its place, and whose class is its folder's."""
        key = "/".join(where.parts[-depth:])
        self.pixels += thumbnail(stream, key)
        self.keys.append(key)
        self.titles.append(title or where.parts[-2])
        self.tick(len(self.keys))

    def image_sets(self, name: str, split_of: Callable[[str], str]) -> Iterator[ImageSet]:
        images = np.frombuffer(self.pixels, np.uint8).reshape(-1, SIDE, SIDE, 3)
        titles, labels = np.unique(self.titles, return_inverse=True)
        classes = tuple(str(title) for title in titles)
        splits = np.array([split_of(key) for key in self.keys])
        by_key = np.argsort(self.keys)
        for split in sorted(set(splits.tolist())):
            members = by_key[splits[by_key] == split]
            rng = np.random.default_rng(zlib.crc32(f"{name}/{split}".encode()))
            order = rng.permutation(members)
            yield ImageSet(name, split, images[order], labels[order].astype(np.int64), classes)


def _folders(gather: Callable[[Files, Gathered], Callable[[str], str]]) -> Converter:
    """Return the converter of a set whose images `gather` adds; it returns the split of a key."""

    @functools.wraps(gather)
    def convert(name: str, files: Files, tick: Tick) -> Iterator[ImageSet]:
        gathered = Gathered(tick)
        split_of = gather(files, gathered)
        yield from gathered.image_sets(name, split_of)

    return cast("Converter", convert)


def thumbnail(stream: io.BufferedIOBase, key: str) -> bytes:
    """Return the 3,072 bytes of an image file as 32x32 RGB; raises `ValueError` if it is no image."""
    try:
        with Image.open(io.BytesIO(stream.read())) as image:
            small = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"member {key} is not an image ({error})") from error
    return small.tobytes()


def _archive(files: Files) -> Path:
    return next(iter(files.values()))  # the archive of the images stands first


def _tar_files(path: Path | None, file: io.BufferedIOBase | None = None) -> Iterator[Member]:
    with tarfile.open(path, "r|*", file) as tar:
        for member in tar:
            stream = cast("io.BufferedIOBase | None", tar.extractfile(member) if member.isfile() else None)
            if stream is not None:
                yield PurePosixPath(member.name), stream


def _jpegs(files: Files) -> Iterator[Member]:  # those that lie in a folder
    for where, stream in _tar_files(_archive(files)):
        if _is_jpeg(where) and len(where.parts) >= 2:
            yield where, stream


def _is_jpeg(where: PurePosixPath) -> bool:
    return where.suffix.lower() in {".jpg", ".jpeg"}


def _lines(content: bytes) -> list[str]:
    return [line.strip() for line in content.decode().splitlines() if line.strip()]


def _first_part(key: str) -> str:
    return key.partition("/")[0]


@_folders
def tinyimagenet(files: Files, gathered: Gathered) -> Callable[[str], str]:
    """`train/<wnid>/images/*.JPEG`, `val/images/*.JPEG` and `val/val_annotations.txt`; test has no labels."""
    with zipfile.ZipFile(_archive(files)) as archive:
        top = "tiny-imagenet-200"
        words = dict(line.split("\t", 1) for line in _lines(archive.read(f"{top}/words.txt")))
        answers = (line.split("\t") for line in _lines(archive.read(f"{top}/val/val_annotations.txt")))
        wnid_of = {answer[0]: answer[1] for answer in answers}
        for member in archive.namelist():
            where = PurePosixPath(member)
            split = where.parts[1] if len(where.parts) > 1 else ""
            if split in {"train", "val"} and _is_jpeg(where):
                wnid = where.parts[2] if split == "train" else wnid_of[where.name]
                place = PurePosixPath(split, wnid, where.name)
                with archive.open(member) as stream:
                    # wnids are equally long, so their titles sort as they do
                    gathered.add(place, cast("io.BufferedIOBase", stream), 3, f"{wnid} {words[wnid]}")
    return _first_part


@_folders
def imagenet(files: Files, gathered: Gathered) -> Callable[[str], str]:
    """A tar of one tar a class, `<wnid>.tar`; the label is the index of the sorted wnid."""
    for where, inner in _tar_files(_archive(files)):
        if where.suffix == ".tar":
            for image, stream in _tar_files(None, inner):
                gathered.add(PurePosixPath(where.stem, image.name), stream)
    return lambda _: "train"


@_folders
def cinic10(files: Files, gathered: Gathered) -> Callable[[str], str]:
    """`<split>/<class>/*.png`, 32x32; CIFAR-10 is part of it, by design (`cifar10-*` in the file names)."""
    for where, stream in _tar_files(_archive(files)):
        if where.suffix == ".png" and len(where.parts) >= 3:
            gathered.add(where, stream, 3)
    return _first_part


@_folders
def indoor67(files: Files, gathered: Gathered) -> Callable[[str], str]:
    """`Images/<class>/*.jpg`; what `TestImages.txt` does not list is train: the paper's 14,280."""
    test = set(_lines(files["TestImages.txt"].read_bytes()))
    for where, stream in _jpegs(files):
        gathered.add(where, stream)
    missing = test.difference(gathered.keys)
    if missing:
        raise ValueError(f"{len(missing)} images of TestImages.txt are missing, such as {min(missing)}")
    return lambda key: "test" if key in test else "train"


@_folders
def cub200_2011(files: Files, gathered: Gathered) -> Callable[[str], str]:
    """`CUB_200_2011/images/<class>/*.jpg`, with `images.txt` and `train_test_split.txt` beside `images`."""
    tables = {}
    for where, stream in _tar_files(_archive(files)):
        if where.name in {"images.txt", "train_test_split.txt"}:
            tables[where.name] = dict(line.split(maxsplit=1) for line in _lines(stream.read()))
        elif _is_jpeg(where) and "images" in where.parts[:-2]:
            gathered.add(where, stream)
    identity = {key: number for number, key in tables["images.txt"].items()}
    is_train = tables["train_test_split.txt"]
    return lambda key: "train" if is_train[identity[key]] == "1" else "test"


_CALTECH_FILE = re.compile(r"\d{3}\.(?!clutter)[^/]*/\d{3}_\d{4}\.jpg")


@_folders
def caltech256(files: Files, gathered: Gathered) -> Callable[[str], str]:
    """`256_ObjectCategories/<number>.<class>/<number>_<image>.jpg`, without the clutter and stray files.

    No official split: test is the first 25 of each class. That leaves the paper's 23,380 for training; which
    25 it left out it does not say.
    """
    for where, stream in _jpegs(files):
        if _CALTECH_FILE.fullmatch("/".join(where.parts[-2:])):
            gathered.add(where, stream)
    return lambda key: "test" if int(key[-8:-4]) <= 25 else "train"
