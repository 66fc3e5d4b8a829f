"""The nine data sets of the paper, and stand-ins: where they come from and what reads them."""

from collections.abc import Mapping
from dataclasses import dataclass

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


_OFFICIAL = "official page, torchvision"
_TORCHVISION = "torchvision"
_COMMON = "the same in many public loaders"

_KRIZ = "https://www.cs.toronto.edu/~kriz"
_STANFORD = "http://cs231n.stanford.edu"
_HOUSES = "http://ufldl.stanford.edu/housenumbers"
_EDINBURGH = "https://datashare.ed.ac.uk"
_LABELME = "http://groups.csail.mit.edu/vision/LabelMe/NewImages"
_TORRALBA = "https://web.mit.edu/torralba/www"
_BIRDS = "https://data.caltech.edu/records/65de6-vp158"
_CALTECH = "https://data.caltech.edu/records/nyy15-4j048"


def _at(folder: str, filename: str, checksum: str, checksum_source: str) -> Download:
    return Download(filename, (f"{folder}/{filename}",), checksum, checksum_source)


SOURCES: Mapping[str, Source] = {
    "cifar10": Source(
        "CIFAR-10",
        10,
        {"train": 50_000, "test": 10_000},
        f"{_KRIZ}/cifar.html",
        (_at(_KRIZ, "cifar-10-python.tar.gz", "md5:c58f30108f718f92721af3b95e74349a", _OFFICIAL),),
        readers.cifar(
            {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)},
            meta="batches.meta",
            names=b"label_names",
            labels=b"labels",
        ),
    ),
    "tinyimagenet": Source(
        "Tiny ImageNet",
        200,
        {"train": 100_000, "val": 10_000},
        f"{_STANFORD}/",
        (_at(_STANFORD, "tiny-imagenet-200.zip", "md5:90528d7ca1a48142e341f4ef8d21d0de", _COMMON),),
        readers.tinyimagenet,
    ),
    "imagenet1k": Source(
        "ImageNet-1k (ILSVRC 2012)",
        1000,
        {"train": 1_281_167},
        "https://image-net.org/challenges/LSVRC/2012/2012-downloads.php",
        (Download("ILSVRC2012_img_train.tar", (), "md5:1d675b47d978889d74fa0da5fadfb00e", _TORCHVISION),),
        readers.imagenet,
    ),
    "cifar100": Source(
        "CIFAR-100",
        100,
        {"train": 50_000, "test": 10_000},
        f"{_KRIZ}/cifar.html",
        (_at(_KRIZ, "cifar-100-python.tar.gz", "md5:eb9058c3a382ffc7106e4002c42a8d85", _OFFICIAL),),
        readers.cifar(
            {"train": ("train",), "test": ("test",)},
            meta="meta",
            names=b"fine_label_names",
            labels=b"fine_labels",
        ),
    ),
    "svhn": Source(
        "SVHN (cropped digits)",
        10,
        {"train": 73_257, "test": 26_032},
        f"{_HOUSES}/",
        (
            _at(_HOUSES, "train_32x32.mat", "md5:e26dedcc434d2e4c54c9b2d4a06d8373", _TORCHVISION),
            _at(_HOUSES, "test_32x32.mat", "md5:eb5a983be6a315427106f1b164d9cef3", _TORCHVISION),
        ),
        readers.svhn,
    ),
    "cinic10": Source(
        "CINIC-10",
        10,
        {"train": 90_000, "valid": 90_000, "test": 90_000},
        f"{_EDINBURGH}/handle/10283/3192",
        (
            Download(
                "CINIC-10.tar.gz",
                (
                    f"{_EDINBURGH}/bitstream/handle/10283/3192/CINIC-10.tar.gz",
                    f"{_EDINBURGH}/bitstreams/e8e186cc-2688-48f1-aa5a-3fda1a43f8b6/download",
                ),
                "md5:6ee4d0c996905fe93221de577967a372",
                _COMMON,
            ),
        ),
        readers.cinic10,
    ),
    "indoor67": Source(
        "MIT Indoor67",
        67,
        {"train": 14_280, "test": 1_340},
        f"{_TORRALBA}/indoor.html",
        (
            _at(_LABELME, "indoorCVPR_09.tar", "sha1:0b252516e746ba428b96af408d2e8162d9b08ac5", "vipy only"),
            _at(
                _TORRALBA,
                "TestImages.txt",
                "sha256:906c529a5a0918feec371de5b07a465ddb1f15ebaebc90a33cc321c371133bf1",
                "stable_datasets only",
            ),
        ),
        readers.indoor67,
    ),
    "cub200_2011": Source(
        "Caltech-UCSD Birds 200-2011",
        200,
        {"train": 5_994, "test": 5_794},
        _BIRDS,
        (_at(f"{_BIRDS}/files", "CUB_200_2011.tgz", "md5:97eceeb196236b17998738112f37df78", _COMMON),),
        readers.cub200_2011,
    ),
    "caltech256": Source(
        "Caltech-256",
        256,
        {"train": 23_380, "test": 6_400},
        _CALTECH,
        (
            _at(
                f"{_CALTECH}/files",
                "256_ObjectCategories.tar",
                "md5:67b4f42ca05d46448c6bb8ecd2220f6d",
                _TORCHVISION,
            ),
        ),
        readers.caltech256,
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
