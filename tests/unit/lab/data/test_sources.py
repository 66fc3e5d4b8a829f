"""Each converter, on a tiny archive with the layout of the official one."""

import io
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from redhanded.lab.data.images import ImageSet
from redhanded.lab.data.readers import _ArrayUnpickler, thumbnail
from redhanded.lab.data.sources import SOURCES

PAPER = [
    "cifar10",
    "tinyimagenet",
    "imagenet1k",
    "cifar100",
    "svhn",
    "cinic10",
    "indoor67",
    "cub200_2011",
    "caltech256",
]


def picture(shade: int, size: tuple[int, int] = (32, 32), form: str = "PNG", mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    image = Image.new("L", size, shade).convert(mode)
    image.save(buffer, form)
    return buffer.getvalue()


def write_tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            folder = tarfile.TarInfo(name.rpartition("/")[0] or ".")
            folder.type = tarfile.DIRTYPE
            tar.addfile(folder)
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def convert(name: str, *paths: Path) -> dict[str, ImageSet]:
    entry = SOURCES[name]
    files = dict(zip((file.filename for file in entry.files), paths, strict=True))
    ticks = []
    sets = {image_set.split: image_set for image_set in entry.convert(name, files, ticks.append)}
    assert set(sets) == set(entry.splits)
    assert ticks[-1] == sum(map(len, sets.values()))
    assert all(image_set.name == name for image_set in sets.values())
    return sets


def shades(image_set: ImageSet) -> list[tuple[str, int]]:
    """(class, shade) of each image, sorted; the pictures here are of one shade of grey."""
    assert np.all(image_set.images == image_set.images[:, :1, :1, :1])
    names = [image_set.classes[label] for label in image_set.labels]
    return sorted(zip(names, image_set.images[:, 0, 0, 0].tolist(), strict=True))


def test_the_nine_sets_of_the_paper_can_be_fetched_and_the_stand_ins_cannot() -> None:
    assert [name for name, entry in SOURCES.items() if entry.fetchable] == PAPER
    assert [name for name in PAPER if SOURCES[name].needs_login] == ["imagenet1k"]
    assert {"cinic10_like", "caltech101", "cub200_2010"} == set(SOURCES) - set(PAPER)


@pytest.mark.parametrize("name", PAPER)
def test_checksums_are_well_formed(name: str) -> None:
    length = {"md5": 32, "sha1": 40, "sha256": 64}
    for file in SOURCES[name].files:
        assert file.checksum_source
        assert all(url.startswith(("http://", "https://")) for url in file.urls)
        algorithm, digest = file.checksum.split(":")
        assert len(digest) == length[algorithm]
        assert int(digest, 16) > 0


def cifar_tar(path: Path, batches: dict[str, dict], folder: str, protocol: int = 2) -> Path:
    members = {f"{folder}/{name}": pickle.dumps(batch, protocol=protocol) for name, batch in batches.items()}
    return write_tar(path, {f"{folder}/readme.html": b"hello", **members}, "w:gz")


def rows(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), np.uint8)


def cifar10_batches() -> dict[str, dict]:
    batches = {
        f"data_batch_{i}": {b"data": rows(2, i), b"labels": [i % 3, 0], b"batch_label": b"x"}
        for i in range(1, 6)
    }
    batches["test_batch"] = {b"data": rows(3, 9), b"labels": [2, 1, 0]}
    return {**batches, "batches.meta": {b"label_names": [b"airplane", b"automobile", b"bird"]}}


@pytest.mark.parametrize("protocol", [2, 4])
def test_cifar10(tmp_path: Path, protocol: int) -> None:
    batches = cifar10_batches()
    path = cifar_tar(tmp_path / "cifar.tar.gz", batches, "cifar-10-batches-py", protocol)
    sets = convert("cifar10", path)
    train, test = sets["train"], sets["test"]
    assert train.classes == ("airplane", "automobile", "bird")
    assert train.labels.tolist() == [1, 0, 2, 0, 0, 0, 1, 0, 2, 0]
    assert test.labels.tolist() == [2, 1, 0]
    # A row is the red plane, row by row, then green, then blue.
    row = batches["data_batch_2"][b"data"][1]
    assert train.images[3, 5, 7].tolist() == [row[5 * 32 + 7], row[1024 + 5 * 32 + 7], row[2048 + 5 * 32 + 7]]


def test_cifar100(tmp_path: Path) -> None:
    batches = {
        "train": {b"data": rows(4, 1), b"fine_labels": [1, 0, 1, 0], b"coarse_labels": [0, 0, 0, 0]},
        "test": {b"data": rows(2, 2), b"fine_labels": [0, 1], b"coarse_labels": [0, 0]},
        "meta": {b"fine_label_names": [b"apple", b"bear"], b"coarse_label_names": [b"food"]},
    }
    sets = convert("cifar100", cifar_tar(tmp_path / "c.tar.gz", batches, "cifar-100-python"))
    assert sets["train"].classes == ("apple", "bear")
    assert sets["train"].labels.tolist() == [1, 0, 1, 0]
    assert sets["test"].labels.tolist() == [0, 1]
    assert np.array_equal(sets["test"].images[1, ..., 2].ravel(), batches["test"][b"data"][1, 2048:])


def test_cifar_rows_of_another_size(tmp_path: Path) -> None:
    batches = cifar10_batches()
    batches["data_batch_3"][b"data"] = np.zeros((2, 3071), np.uint8)
    path = cifar_tar(tmp_path / "c.tar.gz", batches, "cifar-10-batches-py")
    with pytest.raises(ValueError, match="3072"):
        convert("cifar10", path)
    batches["data_batch_3"] = {b"data": rows(3, 0), b"labels": [0, 0]}
    with pytest.raises(ValueError, match="11 images, 10 labels"):
        convert("cifar10", cifar_tar(tmp_path / "d.tar.gz", batches, "cifar-10-batches-py"))


class Trap:
    def __reduce__(self):
        return print, ("the pickle ran code",)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_cannot_run_code(capsys, protocol: int) -> None:
    content = io.BytesIO(pickle.dumps({b"data": Trap()}, protocol=protocol))
    with pytest.raises(pickle.UnpicklingError, match="print is not allowed"):
        _ArrayUnpickler(content, encoding="bytes").load()
    assert capsys.readouterr().out == ""


def test_a_pickle_cannot_choose_a_codec() -> None:
    content = io.BytesIO(b"c_codecs\nencode\n(Vx\nVzlib\ntR.")
    with pytest.raises(pickle.UnpicklingError, match="codec zlib"):
        _ArrayUnpickler(content, encoding="bytes").load()


def test_svhn(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = {
        split: rng.integers(0, 256, (count, 32, 32, 3), np.uint8) for split, count in [("a", 3), ("b", 2)]
    }
    labels = {"a": [[10], [1], [9]], "b": [[2], [10]]}
    for split in "ab":
        content = {"X": images[split].transpose(1, 2, 3, 0), "y": np.array(labels[split], np.uint8)}
        scipy.io.savemat(tmp_path / f"{split}.mat", content)
    sets = convert("svhn", tmp_path / "a.mat", tmp_path / "b.mat")
    assert sets["train"].labels.tolist() == [0, 1, 9]
    assert sets["test"].labels.tolist() == [2, 0]
    assert np.array_equal(sets["train"].images, images["a"])
    assert np.array_equal(sets["test"].images, images["b"])
    assert sets["train"].classes == tuple("0123456789")


def test_tinyimagenet(tmp_path: Path) -> None:
    path = tmp_path / "tiny-imagenet-200.zip"
    top = "tiny-imagenet-200"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{top}/wnids.txt", "n02\nn01\n")
        archive.writestr(f"{top}/words.txt", "n01\tgoldfish, Carassius\nn02\tnewt\nn03\tunused\n")
        for shade, wnid in [(16, "n01"), (32, "n01"), (48, "n02")]:
            content = picture(shade, (64, 64), "JPEG")
            archive.writestr(f"{top}/train/{wnid}/images/{wnid}_{shade}.JPEG", content)
            archive.writestr(f"{top}/train/{wnid}/{wnid}_{shade}_boxes.txt", "0 0 1 1")
        archive.writestr(f"{top}/val/images/val_0.JPEG", picture(64, (64, 64), "JPEG", "L"))
        archive.writestr(f"{top}/val/val_annotations.txt", "val_0.JPEG\tn02\t0\t0\t62\t62\n")
        archive.writestr(f"{top}/test/images/test_0.JPEG", picture(80, (64, 64), "JPEG"))
    sets = convert("tinyimagenet", path)
    goldfish, newt = "n01 goldfish, Carassius", "n02 newt"
    assert shades(sets["train"]) == [(goldfish, 16), (goldfish, 32), (newt, 48)]
    assert shades(sets["val"]) == [(newt, 64)]
    assert sets["val"].classes == (goldfish, newt)


def test_imagenet(tmp_path: Path) -> None:
    inner = {}
    for wnid, greys in [("n02", [32]), ("n01", [48, 64])]:
        members = {f"{wnid}_{grey}.JPEG": picture(grey, (50, 40), "JPEG") for grey in greys}
        inner[f"{wnid}.tar"] = write_tar(tmp_path / "inner.tar", members).read_bytes()
    sets = convert("imagenet1k", write_tar(tmp_path / "train.tar", inner))
    assert sets["train"].classes == ("n01", "n02")
    assert shades(sets["train"]) == [("n01", 48), ("n01", 64), ("n02", 32)]


def test_cinic10(tmp_path: Path) -> None:
    members = {"./README.md": b"CINIC"}
    for shade, (split, folder) in enumerate(
        [("train", "cat"), ("train", "dog"), ("valid", "cat"), ("test", "dog")]
    ):
        members[f"./{split}/{folder}/cifar10-{shade}.png"] = picture(shade)
    sets = convert("cinic10", write_tar(tmp_path / "CINIC-10.tar.gz", members, "w:gz"))
    assert {split: shades(image_set) for split, image_set in sets.items()} == {
        "train": [("cat", 0), ("dog", 1)],
        "valid": [("cat", 2)],
        "test": [("dog", 3)],
    }


def indoor67_tar(path: Path) -> Path:
    members = {
        f"Images/{folder}/{name}": picture(shade, (60, 40), "JPEG", mode)
        for shade, folder, name, mode in [
            (16, "bar", "int_16.jpg", "RGB"),
            (32, "bar", "int 32.JPG", "L"),
            (48, "attic", "int_48.jpg", "CMYK"),
        ]
    }
    return write_tar(path, {**members, "Images/bar/Thumbs.db": b"junk"})


def test_indoor67(tmp_path: Path) -> None:
    listing = tmp_path / "TestImages.txt"
    listing.write_text("bar/int 32.JPG\n", encoding="utf-8")
    sets = convert("indoor67", indoor67_tar(tmp_path / "indoor.tar"), listing)
    assert shades(sets["train"]) == [("attic", 48), ("bar", 16)]
    assert shades(sets["test"]) == [("bar", 32)]


def test_indoor67_misses_a_test_image(tmp_path: Path) -> None:
    listing = tmp_path / "TestImages.txt"
    listing.write_text("bar/int 32.JPG\nbar/gone.jpg", encoding="utf-8")
    with pytest.raises(ValueError, match=r"bar/gone\.jpg"):
        convert("indoor67", indoor67_tar(tmp_path / "indoor.tar"), listing)


def test_cub200_2011(tmp_path: Path) -> None:
    top, names = "CUB_200_2011", ["001.Albatross/A_16.jpg", "001.Albatross/A_32.jpg", "002.Ani/B_48.jpg"]
    members = {"attributes.txt": b"1 blue", f"{top}/README": b"birds"}
    members |= {f"{top}/images/{name}": picture(int(name[-6:-4]), (70, 50), "JPEG") for name in names}
    members[f"{top}/images.txt"] = "".join(f"{i} {name}\n" for i, name in enumerate(names, 1)).encode()
    members[f"{top}/train_test_split.txt"] = b"1 0\n2 1\n3 1\n"
    sets = convert("cub200_2011", write_tar(tmp_path / "CUB_200_2011.tgz", members, "w:gz"))
    assert shades(sets["train"]) == [("001.Albatross", 32), ("002.Ani", 48)]
    assert shades(sets["test"]) == [("001.Albatross", 16)]
    assert sets["test"].classes == ("001.Albatross", "002.Ani")


def test_caltech256(tmp_path: Path) -> None:
    top = "256_ObjectCategories"
    members = {
        f"{top}/001.ak47/001_0001.jpg": picture(16, (70, 50), "JPEG"),
        f"{top}/001.ak47/001_0025.jpg": picture(32, (70, 50), "JPEG"),
        f"{top}/001.ak47/001_0026.jpg": picture(48, (70, 50), "JPEG", "L"),
        f"{top}/198.spider/RENAME2": b"echo",
        f"{top}/198.spider/198_0100.jpg": picture(64, (70, 50), "JPEG"),
        f"{top}/056.dog/greg/vision309/056_0001.jpg": picture(80, (70, 50), "JPEG"),
        f"{top}/257.clutter/257_0001.jpg": picture(96, (70, 50), "JPEG"),
    }
    sets = convert("caltech256", write_tar(tmp_path / "caltech.tar", members))
    assert shades(sets["train"]) == [("001.ak47", 48), ("198.spider", 64)]
    assert shades(sets["test"]) == [("001.ak47", 16), ("001.ak47", 32)]


def test_the_order_is_random_but_not_the_order_of_the_archive(tmp_path: Path) -> None:
    members = {f"train/{'cat' if i < 20 else 'dog'}/{i:02}.png": picture(i) for i in range(40)}
    members |= {"valid/cat/0.png": picture(0), "test/cat/0.png": picture(0), "test/dog/0.png": picture(0)}
    one = convert("cinic10", write_tar(tmp_path / "a.tar.gz", members, "w:gz"))["train"]
    turned = dict(reversed(members.items()))
    other = convert("cinic10", write_tar(tmp_path / "b.tar.gz", turned, "w:gz"))["train"]
    assert np.array_equal(one.images, other.images)
    assert np.array_equal(one.labels, other.labels)
    assert 5 <= one.labels[:20].sum() <= 15


def test_members_are_never_extracted(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "er"
    root.mkdir(parents=True)
    members = {f"../../{split}/cat/x.png": picture(7) for split in ("train", "valid", "test")}
    path = write_tar(root / "c.tar.gz", members, "w:gz")
    assert shades(convert("cinic10", path)["train"]) == [("cat", 7)]
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]


def test_thumbnail_is_the_whole_image_antialiased() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    buffer.seek(0)
    small = np.frombuffer(thumbnail(buffer, "x"), np.uint8).reshape(32, 32, 3)
    expected = np.asarray(Image.fromarray(pixels).resize((32, 32), Image.Resampling.BILINEAR))
    assert np.array_equal(small, expected)
    assert small.std() < pixels.std()


def test_thumbnail_of_junk_names_the_member() -> None:
    with pytest.raises(ValueError, match=r"bar/x\.jpg is not an image"):
        thumbnail(io.BytesIO(b"junk"), "bar/x.jpg")
