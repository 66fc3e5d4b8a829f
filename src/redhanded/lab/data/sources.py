"""The nine data sets of the paper: where they come from, and how each official archive becomes images.

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


@dataclass(frozen=True)
class Download:
    """One official file; without `urls` its host wants a login, without `checksum` none is known."""

    filename: str
    urls: tuple[str, ...]
    checksum: str | None
    """`algorithm:digest`."""
    checksum_source: str


@dataclass(frozen=True)
class Source:
    """A data set: `splits` gives the images of each; without `convert` it can be loaded, not fetched."""

    title: str
    classes: int
    splits: Mapping[str, int]
    page: str
    files: tuple[Download, ...] = ()
    convert: Converter | None = None

    @property
    def fetchable(self) -> bool:
        return self.convert is not None

    @property
    def needs_login(self) -> bool:
        return any(not file.urls for file in self.files)


# --- Sets that come as arrays: official order ---------------------------------------------------------------


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


def _cifar(
    name: str,
    files: Files,
    tick: Tick,
    *,
    batches: Mapping[str, tuple[str, ...]],
    meta: tuple[str, bytes],
    labels: bytes,
) -> Iterator[ImageSet]:
    [path] = files.values()
    wanted = {meta[0], *(batch for split in batches.values() for batch in split)}
    content = {
        where.name: _ArrayUnpickler(stream, encoding="bytes").load()
        for where, stream in _tar_files(path)
        if where.name in wanted
    }
    classes = tuple(_text(entry) for entry in content[meta[0]][meta[1]])
    done = 0
    for split, parts in batches.items():
        rows = np.concatenate([_rows(content[part][b"data"]) for part in parts])
        images = np.ascontiguousarray(rows.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1))
        targets = np.concatenate([np.array(content[part][labels], np.int64) for part in parts])
        done += len(images)
        tick(done)
        yield _checked(name, split, images, targets, classes)


def _text(entry: bytes | str) -> str:
    return entry.decode() if isinstance(entry, bytes) else entry


def _rows(data: Any) -> UInt8[np.ndarray, "n pixels"]:
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (3 * SIDE * SIDE,):
        raise ValueError("a batch is not uint8 [n, 3072]")
    return data


def _svhn(name: str, files: Files, tick: Tick) -> Iterator[ImageSet]:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    done = 0
    for filename, path in files.items():
        try:
            content = loadmat(path, variable_names=["X", "y"])
        except MatReadError as error:
            raise ValueError(f"{filename}: {error}") from error
        images = np.ascontiguousarray(content["X"].transpose(3, 0, 1, 2))
        if images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE, 3):
            raise ValueError(f"X is {content['X'].dtype} {content['X'].shape}, not uint8 [32, 32, 3, n]")
        labels = content["y"].ravel().astype(np.int64) % 10  # the digit 0 is stored as 10
        done += len(images)
        tick(done)
        yield _checked(name, filename.partition("_")[0], images, labels, tuple("0123456789"))


def _checked(
    name: str,
    split: str,
    images: UInt8[np.ndarray, "n 32 32 3"],
    labels: Int[np.ndarray, " labels"],
    classes: tuple[str, ...],
) -> ImageSet:
    if len(labels) != len(images):
        raise ValueError(f"{len(images)} images, {len(labels)} labels")
    return ImageSet(name, split, images, labels.astype(np.int64), classes)


# --- Sets that come as image files: seeded random order -----------------------------------------------------


@dataclass
class _Gathered:
    """Images in the order of the archive; keys are `folder/file`, unique in a set."""

    tick: Tick
    pixels: bytearray = field(default_factory=bytearray)
    keys: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)

    def add(self, key: str, folder: str, stream: io.BufferedIOBase) -> None:
        self.pixels += thumbnail(stream, key)
        self.keys.append(key)
        self.folders.append(folder)
        self.tick(len(self.keys))

    def image_sets(
        self,
        name: str,
        split_of: Callable[[str], str],
        title_of: Callable[[str], str] = str,
    ) -> Iterator[ImageSet]:
        images = np.frombuffer(self.pixels, np.uint8).reshape(-1, SIDE, SIDE, 3)
        folders, labels = np.unique(self.folders, return_inverse=True)
        classes = tuple(title_of(str(folder)) for folder in folders)
        splits = np.array([split_of(key) for key in self.keys])
        by_key = np.argsort(self.keys)
        for split in sorted(set(splits.tolist())):
            members = by_key[splits[by_key] == split]
            rng = np.random.default_rng(zlib.crc32(f"{name}/{split}".encode()))
            order = rng.permutation(members)
            yield ImageSet(name, split, images[order], labels[order].astype(np.int64), classes)


def thumbnail(stream: io.BufferedIOBase, key: str) -> bytes:
    """Return the 3,072 bytes of an image file as 32x32 RGB; raises `ValueError` if it is no image."""
    try:
        with Image.open(io.BytesIO(stream.read())) as image:
            small = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"member {key} is not an image ({error})") from error
    return small.tobytes()


def _tar_files(path: Path) -> Iterator[tuple[PurePosixPath, io.BufferedIOBase]]:
    with path.open("rb") as file:
        yield from _tar_stream(file)


def _tar_stream(file: io.BufferedIOBase) -> Iterator[tuple[PurePosixPath, io.BufferedIOBase]]:
    with tarfile.open(fileobj=file, mode="r|*") as tar:
        for member in tar:
            stream = cast("io.BufferedIOBase | None", tar.extractfile(member) if member.isfile() else None)
            if stream is not None:
                yield PurePosixPath(member.name), stream


def _is_jpeg(where: PurePosixPath) -> bool:
    return where.suffix.lower() in {".jpg", ".jpeg"}


def _tinyimagenet(name: str, files: Files, tick: Tick) -> Iterator[ImageSet]:
    """`train/<wnid>/images/*.JPEG`, `val/images/*.JPEG` and `val/val_annotations.txt`; test has no labels."""
    [path] = files.values()
    gathered = _Gathered(tick)
    with zipfile.ZipFile(path) as archive:
        top = "tiny-imagenet-200"
        words = dict(line.split("\t", 1) for line in _lines(archive.read(f"{top}/words.txt")))
        answers = (line.split("\t") for line in _lines(archive.read(f"{top}/val/val_annotations.txt")))
        wnid_of = {answer[0]: answer[1] for answer in answers}
        for member in archive.namelist():
            where = PurePosixPath(member)
            split = where.parts[1] if len(where.parts) > 1 else ""
            if split in {"train", "val"} and _is_jpeg(where):
                folder = where.parts[2] if split == "train" else wnid_of[where.name]
                with archive.open(member) as stream:
                    gathered.add(f"{split}/{folder}/{where.name}", folder, cast("io.BufferedIOBase", stream))
    yield from gathered.image_sets(name, _first_part, lambda wnid: f"{wnid} {words[wnid]}")


def _lines(content: bytes) -> list[str]:
    return [line.strip() for line in content.decode().splitlines() if line.strip()]


def _first_part(key: str) -> str:
    return key.partition("/")[0]


def _imagenet(name: str, files: Files, tick: Tick) -> Iterator[ImageSet]:
    """A tar of one tar a class, `<wnid>.tar`; the label is the index of the sorted wnid."""
    [path] = files.values()
    gathered = _Gathered(tick)
    for where, inner in _tar_files(path):
        if where.suffix == ".tar":
            for image, stream in _tar_stream(inner):
                gathered.add(f"{where.stem}/{image.name}", where.stem, stream)
    yield from gathered.image_sets(name, lambda _: "train")


def _cinic10(name: str, files: Files, tick: Tick) -> Iterator[ImageSet]:
    """`<split>/<class>/*.png`, 32x32; CIFAR-10 is part of it, by design (`cifar10-*` in the file names)."""
    [path] = files.values()
    gathered = _Gathered(tick)
    for where, stream in _tar_files(path):
        if where.suffix == ".png" and len(where.parts) >= 3:
            split, folder = where.parts[-3:-1]
            gathered.add(f"{split}/{folder}/{where.name}", folder, stream)
    yield from gathered.image_sets(name, _first_part)


def _indoor67(name: str, files: Files, tick: Tick) -> Iterator[ImageSet]:
    """`Images/<class>/*.jpg`; what `TestImages.txt` does not list is train: the paper's 14,280."""
    path, listing = files["indoorCVPR_09.tar"], files["TestImages.txt"]
    test = set(_lines(listing.read_bytes()))
    gathered = _Gathered(tick)
    for where, stream in _tar_files(path):
        if _is_jpeg(where) and len(where.parts) >= 2:
            gathered.add("/".join(where.parts[-2:]), where.parts[-2], stream)
    missing = test.difference(gathered.keys)
    if missing:
        raise ValueError(f"{len(missing)} images of TestImages.txt are missing, such as {min(missing)}")
    yield from gathered.image_sets(name, lambda key: "test" if key in test else "train")


def _cub200_2011(name: str, files: Files, tick: Tick) -> Iterator[ImageSet]:
    """`CUB_200_2011/images/<class>/*.jpg`, with `images.txt` and `train_test_split.txt` beside `images`."""
    [path] = files.values()
    gathered, tables = _Gathered(tick), {}
    for where, stream in _tar_files(path):
        if where.name in {"images.txt", "train_test_split.txt"}:
            tables[where.name] = dict(line.split(maxsplit=1) for line in _lines(stream.read()))
        elif _is_jpeg(where) and "images" in where.parts[:-2]:
            gathered.add("/".join(where.parts[-2:]), where.parts[-2], stream)
    identity = {key: number for number, key in tables["images.txt"].items()}
    is_train = tables["train_test_split.txt"]
    yield from gathered.image_sets(name, lambda key: "train" if is_train[identity[key]] == "1" else "test")


_CALTECH_FOLDER, _CALTECH_FILE = re.compile(r"(\d{3})\.(?!clutter)"), re.compile(r"\d{3}_(\d{4})\.jpg")


def _caltech256(name: str, files: Files, tick: Tick) -> Iterator[ImageSet]:
    """`256_ObjectCategories/<number>.<class>/<number>_<image>.jpg`, without the clutter and stray files.

    No official split: test is the first 25 of each class. That leaves the paper's 23,380 for training; which
    25 it left out it does not say.
    """
    [path] = files.values()
    gathered = _Gathered(tick)
    for where, stream in _tar_files(path):
        folder = where.parts[-2] if len(where.parts) >= 2 else ""
        if _CALTECH_FOLDER.match(folder) and _CALTECH_FILE.fullmatch(where.name):
            gathered.add(f"{folder}/{where.name}", folder, stream)
    yield from gathered.image_sets(name, lambda key: "test" if int(key[-8:-4]) <= 25 else "train")


# --- The sets -----------------------------------------------------------------------------------------------

_TORCHVISION = "torchvision"
_COMMON = "the same in many public loaders"

SOURCES: Mapping[str, Source] = {
    "cifar10": Source(
        "CIFAR-10",
        10,
        {"train": 50_000, "test": 10_000},
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        (
            Download(
                "cifar-10-python.tar.gz",
                ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
                "md5:c58f30108f718f92721af3b95e74349a",
                "official page, torchvision",
            ),
        ),
        functools.partial(
            _cifar,
            batches={"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)},
            meta=("batches.meta", b"label_names"),
            labels=b"labels",
        ),
    ),
    "tinyimagenet": Source(
        "Tiny ImageNet",
        200,
        {"train": 100_000, "val": 10_000},
        "http://cs231n.stanford.edu/",
        (
            Download(
                "tiny-imagenet-200.zip",
                ("http://cs231n.stanford.edu/tiny-imagenet-200.zip",),
                "md5:90528d7ca1a48142e341f4ef8d21d0de",
                _COMMON,
            ),
        ),
        _tinyimagenet,
    ),
    "imagenet1k": Source(
        "ImageNet-1k (ILSVRC 2012)",
        1000,
        {"train": 1_281_167},
        "https://image-net.org/challenges/LSVRC/2012/2012-downloads.php",
        (Download("ILSVRC2012_img_train.tar", (), "md5:1d675b47d978889d74fa0da5fadfb00e", _TORCHVISION),),
        _imagenet,
    ),
    "cifar100": Source(
        "CIFAR-100",
        100,
        {"train": 50_000, "test": 10_000},
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        (
            Download(
                "cifar-100-python.tar.gz",
                ("https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",),
                "md5:eb9058c3a382ffc7106e4002c42a8d85",
                "official page, torchvision",
            ),
        ),
        functools.partial(
            _cifar,
            batches={"train": ("train",), "test": ("test",)},
            meta=("meta", b"fine_label_names"),
            labels=b"fine_labels",
        ),
    ),
    "svhn": Source(
        "SVHN (cropped digits)",
        10,
        {"train": 73_257, "test": 26_032},
        "http://ufldl.stanford.edu/housenumbers/",
        (
            Download(
                "train_32x32.mat",
                ("http://ufldl.stanford.edu/housenumbers/train_32x32.mat",),
                "md5:e26dedcc434d2e4c54c9b2d4a06d8373",
                _TORCHVISION,
            ),
            Download(
                "test_32x32.mat",
                ("http://ufldl.stanford.edu/housenumbers/test_32x32.mat",),
                "md5:eb5a983be6a315427106f1b164d9cef3",
                _TORCHVISION,
            ),
        ),
        _svhn,
    ),
    "cinic10": Source(
        "CINIC-10",
        10,
        {"train": 90_000, "valid": 90_000, "test": 90_000},
        "https://datashare.ed.ac.uk/handle/10283/3192",
        (
            Download(
                "CINIC-10.tar.gz",
                (
                    "https://datashare.ed.ac.uk/bitstream/handle/10283/3192/CINIC-10.tar.gz",
                    "https://datashare.ed.ac.uk/bitstreams/e8e186cc-2688-48f1-aa5a-3fda1a43f8b6/download",
                ),
                "md5:6ee4d0c996905fe93221de577967a372",
                _COMMON,
            ),
        ),
        _cinic10,
    ),
    "indoor67": Source(
        "MIT Indoor67",
        67,
        {"train": 14_280, "test": 1_340},
        "https://web.mit.edu/torralba/www/indoor.html",
        (
            Download(
                "indoorCVPR_09.tar",
                ("http://groups.csail.mit.edu/vision/LabelMe/NewImages/indoorCVPR_09.tar",),
                "sha1:0b252516e746ba428b96af408d2e8162d9b08ac5",
                "vipy only",
            ),
            Download(
                "TestImages.txt",
                ("https://web.mit.edu/torralba/www/TestImages.txt",),
                "sha256:906c529a5a0918feec371de5b07a465ddb1f15ebaebc90a33cc321c371133bf1",
                "stable_datasets only",
            ),
        ),
        _indoor67,
    ),
    "cub200_2011": Source(
        "Caltech-UCSD Birds 200-2011",
        200,
        {"train": 5_994, "test": 5_794},
        "https://data.caltech.edu/records/65de6-vp158",
        (
            Download(
                "CUB_200_2011.tgz",
                ("https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",),
                "md5:97eceeb196236b17998738112f37df78",
                _COMMON,
            ),
        ),
        _cub200_2011,
    ),
    "caltech256": Source(
        "Caltech-256",
        256,
        {"train": 23_380, "test": 6_400},
        "https://data.caltech.edu/records/nyy15-4j048",
        (
            Download(
                "256_ObjectCategories.tar",
                ("https://data.caltech.edu/records/nyy15-4j048/files/256_ObjectCategories.tar",),
                "md5:67b4f42ca05d46448c6bb8ecd2220f6d",
                _TORCHVISION,
            ),
        ),
        _caltech256,
    ),
    # Stand-ins, made by hand where an official set could not be had: loaded if present, never fetched.
    "cinic10_like": Source(
        "CINIC-10's classes without CIFAR-10 images (stand-in)",
        10,
        {"train": 9_106},
        "https://github.com/BayesWatch/cinic-10",
    ),
    "caltech101": Source(
        "Caltech-101 (stand-in for Caltech-256)",
        101,
        {"train": 6_170},
        "http://www.vision.caltech.edu/Image_Datasets/Caltech101/",
    ),
    "cub200_2010": Source(
        "ten species of CUB-200 (stand-in for CUB-200-2011)",
        10,
        {"train": 294},
        "https://github.com/yinlingmei/CUB_200",
    ),
}
