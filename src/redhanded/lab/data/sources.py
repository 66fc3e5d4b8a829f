"""The nine data sets of the paper, and stand-ins: where they come from and what reads them."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from redhanded.lab.data import readers


@dataclass(frozen=True)
class Download:
    """One official file; without `urls` its host wants a login."""

    filename: str
    urls: tuple[str, ...]
    checksum: str
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
    convert: readers.Converter | None = None

    @property
    def fetchable(self) -> bool:
        return self.convert is not None

    @property
    def needs_login(self) -> bool:
        return any(not file.urls for file in self.files)


_CONVERTERS: Mapping[str, readers.Converter] = {
    "cifar10": readers.cifar(
        {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)},
        meta="batches.meta",
        names=b"label_names",
        labels=b"labels",
    ),
    "tinyimagenet": readers.tinyimagenet,
    "imagenet1k": readers.imagenet,
    "cifar100": readers.cifar(
        {"train": ("train",), "test": ("test",)},
        meta="meta",
        names=b"fine_label_names",
        labels=b"fine_labels",
    ),
    "svhn": readers.svhn,
    "cinic10": readers.cinic10,
    "indoor67": readers.indoor67,
    "cub200_2011": readers.cub200_2011,
    "caltech256": readers.caltech256,
}


def _listed() -> dict[str, Source]:
    text = resources.files("redhanded.lab.data").joinpath("sources.toml").read_text(encoding="utf-8")
    found = {}
    for name, said in tomllib.loads(text).items():
        files = tuple(Download(**(file | {"urls": tuple(file["urls"])})) for file in said.pop("files", ()))
        found[name] = Source(**said, files=files, convert=_CONVERTERS.get(name))
    return found


SOURCES: Mapping[str, Source] = _listed()
"""What `sources.toml` lists, by name."""
