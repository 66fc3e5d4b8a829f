"""The image archive: what is packed comes back, and damage is said in one line."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from redhanded.errors import RedhandedError
from redhanded.lab.data.archive import available, data_root, load, read_archive, write_archive
from redhanded.lab.data.images import ImageSet
from redhanded.lab.data.sources import SOURCES


def image_set(count: int, name: str = "cifar10", split: str = "train", classes: int = 3) -> ImageSet:
    rng = np.random.default_rng(count)
    # Repeated tiles: WebP finds them, so that large sets stay quick to pack.
    tiles = rng.integers(0, 256, (7, 32, 32, 3), np.uint8)
    return ImageSet(
        name,
        split,
        tiles[rng.integers(0, 7, count)],
        rng.integers(0, classes, count),
        tuple(f"class {i}" for i in range(classes)),
        {"source": rng.integers(0, 256, count, np.uint8)},
    )


def assert_same(one: ImageSet, other: ImageSet) -> None:
    assert (one.name, one.split, one.classes) == (other.name, other.split, other.classes)
    assert np.array_equal(one.images, other.images)
    assert np.array_equal(one.labels, other.labels)
    assert one.labels.dtype == other.labels.dtype == np.int64
    assert one.extra.keys() == other.extra.keys()
    assert all(np.array_equal(one.extra[key], other.extra[key]) for key in one.extra)


def reference_load(path: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Read as the format's description says, without this package."""
    with np.load(path) as z:
        labels, ends, webp = z["labels"].astype(np.int64), z["ends"], z["webp"].tobytes()
        classes = [str(c) for c in z["classes"]]
    tiles, start = [], 0
    for end in ends:
        sheet = np.asarray(Image.open(io.BytesIO(webp[start:end])).convert("RGB"))
        for row in range(0, sheet.shape[0], 32):
            tiles += [sheet[row : row + 32, column : column + 32] for column in range(0, sheet.shape[1], 32)]
        start = end
    assert not np.any(tiles[len(labels) :])
    return np.array(tiles[: len(labels)]).reshape(-1, 32, 32, 3), labels, classes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cifar10" / "train.npz"


@pytest.mark.parametrize("count", [0, 1, 33, 1024, 1025])
def test_round_trip(path: Path, count: int) -> None:
    packed = image_set(count)
    write_archive(path, packed)
    assert len(packed) == count
    assert_same(read_archive(path), packed)
    with np.load(path) as arrays:
        assert len(arrays["ends"]) == -(-count // 1024)
    images, labels, classes = reference_load(path)
    assert np.array_equal(images, packed.images)
    assert np.array_equal(labels, packed.labels)
    assert tuple(classes) == packed.classes


@given(
    count=st.integers(1, 70),
    seed=st.integers(0, 99),
    kind=st.sampled_from(["noise", "black", "grey"]),
    columns=st.lists(st.sampled_from(["a", "source", "z_9"]), unique=True),
)
@settings(deadline=None, max_examples=25)
def test_any_pixels_come_back(tmp_path_factory, count, seed, kind, columns) -> None:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 32, 32, 3), np.uint8)
    if kind != "noise":
        images[...] = 0 if kind == "black" else images[..., :1]
    extra = {column: rng.integers(0, 256, count, np.uint8) for column in columns}
    packed = ImageSet("svhn", "test", images, rng.integers(0, 10, count), tuple("0123456789"), extra)
    target = tmp_path_factory.mktemp("root") / "svhn" / "test.npz"
    write_archive(target, packed)
    assert_same(read_archive(target), packed)


def test_the_same_set_gives_the_same_bytes_and_no_partial_file(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "cifar10" / "train.npz"
    write_archive(path, image_set(40))
    write_archive(other, image_set(40))
    assert path.read_bytes() == other.read_bytes()
    assert [file.name for file in path.parent.iterdir()] == ["train.npz"]


def test_a_failed_write_leaves_the_old_file(path: Path, monkeypatch) -> None:
    write_archive(path, image_set(3))
    before = path.read_bytes()

    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space"):
        write_archive(path, image_set(4))
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["train.npz"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.array([0, 3])}, "labels"),
        ({"labels": np.array([-1, 0])}, "labels"),
        ({"extra": {"webp": np.zeros(2, np.uint8)}}, "extra: webp"),
        ({"name": "svhn"}, "path: .* does not end in svhn"),
    ],
)
def test_what_does_not_fit_the_format_is_not_written(path: Path, change, message) -> None:
    fields = {**vars(image_set(2)), **change}
    with pytest.raises(RedhandedError, match=message):
        write_archive(path, ImageSet(**fields))
    assert not path.exists()


def test_load_and_available(tmp_path: Path, monkeypatch) -> None:
    for name, split in [("svhn", "train"), ("cifar10", "train"), ("cifar10", "test")]:
        write_archive(tmp_path / name / f"{split}.npz", image_set(2, name, split))
    assert available(tmp_path) == [("cifar10", "test"), ("cifar10", "train"), ("svhn", "train")]
    assert_same(load("cifar10", "test", tmp_path), image_set(2, "cifar10", "test"))
    monkeypatch.setenv("REDHANDED_DATA", str(tmp_path))
    assert len(available()) == 3
    assert_same(load("svhn"), image_set(2, "svhn"))


def test_data_root(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REDHANDED_DATA", str(tmp_path))
    assert data_root() == tmp_path
    for unset in (
        lambda: monkeypatch.setenv("REDHANDED_DATA", ""),
        lambda: monkeypatch.delenv("REDHANDED_DATA"),
    ):
        unset()
        assert data_root() == Path.home() / ".cache" / "redhanded"


def error_of(call) -> str:
    with pytest.raises(RedhandedError) as raised:
        call()
    message = str(raised.value)
    assert "\n" not in message
    return message


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    message = error_of(lambda: load("cifar11", root=tmp_path))
    assert "'cifar11'" in message
    assert all(name in message for name in SOURCES)


@pytest.mark.parametrize("name", ["../cifar10", "..", "", "/etc"])
def test_a_name_never_leaves_the_root(tmp_path: Path, name: str) -> None:
    write_archive(tmp_path / "cifar10" / "train.npz", image_set(2))
    assert "unknown data set" in error_of(lambda: load(name, root=tmp_path / "root"))
    assert "no split" in error_of(lambda: load("cifar10", f"{name}/train", root=tmp_path))


def test_a_missing_set_says_how_to_get_it(tmp_path: Path) -> None:
    message = error_of(lambda: load("cifar10", root=tmp_path))
    assert "redhanded data fetch cifar10" in message
    assert "REDHANDED_DATA" in message
    stand_in = error_of(lambda: load("caltech101", root=tmp_path))
    assert "fetch caltech101" not in stand_in
    assert "REDHANDED_DATA" in stand_in
    assert "test, train" in error_of(lambda: load("cifar10", "valid", root=tmp_path))


def test_a_set_of_the_user_loads(tmp_path: Path) -> None:
    write_archive(tmp_path / "mine" / "all.npz", image_set(2, "mine", "all"))
    assert_same(load("mine", "all", tmp_path), image_set(2, "mine", "all"))
    assert "choose one of all" in error_of(lambda: load("mine", "train", tmp_path))


def rewrite(path: Path, **changes: np.ndarray | None) -> None:
    with np.load(path) as z:
        arrays = {**{key: z[key] for key in z.files}, **changes}
    np.savez(path, **{key: array for key, array in arrays.items() if array is not None})


def sheet(width: int, height: int, form: str = "WEBP") -> np.ndarray:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, form, lossless=True)
    return np.frombuffer(buffer.getvalue(), np.uint8)


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.999])
def test_a_truncated_file(path: Path, keep: float) -> None:
    write_archive(path, image_set(40))
    content = path.read_bytes()
    path.write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
    assert str(path) in error_of(lambda: read_archive(path))


def test_a_flipped_bit(path: Path) -> None:
    write_archive(path, image_set(40))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "delete it and fetch" in error_of(lambda: read_archive(path))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"labels": None}, "no array 'labels'"),
        ({"webp": None}, "no array 'webp'"),
        ({"ends": None}, "no array 'ends'"),
        ({"classes": None}, "no array 'classes'"),
        ({"labels": np.zeros(40, np.int64)}, "labels is int64"),
        ({"labels": np.zeros((40, 1), np.uint16)}, "labels is uint16"),
        ({"labels": np.full(40, 9, np.uint16)}, "label 9 of 3 classes"),
        ({"labels": np.zeros(39, np.uint16)}, "source is"),
        ({"labels": np.zeros(99, np.uint16), "source": None}, "a sheet of 64 tiles"),
        ({"labels": np.zeros(0, np.uint16), "source": None}, "a sheet of 64 tiles"),
        ({"labels": np.zeros(40, np.uint16), "ends": np.zeros(0, np.int64)}, "ends of the sheets"),
        ({"ends": np.array([10])}, "ends of the sheets"),
        ({"ends": np.array([-1])}, "ends of the sheets"),
        ({"ends": np.array([7.5])}, "ends is float64"),
        ({"webp": np.zeros(0, np.uint8), "ends": np.zeros(0, np.int64)}, "0 of 40 images"),
        ({"source": np.zeros(40, np.float32)}, "source is float32"),
        ({"classes": np.array([1, 2, 3])}, "classes is not"),
        ({"classes": np.array(["a", None, {}], dtype=object)}, "[Pp]ickle"),
    ],
)
def test_a_damaged_array(path: Path, changes, reason) -> None:
    write_archive(path, image_set(40))
    rewrite(path, **changes)
    with pytest.raises(RedhandedError, match=reason) as raised:
        read_archive(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("webp", "reason"),
    [
        (np.arange(99, dtype=np.uint8), "cannot identify"),
        (sheet(1024, 64, "PNG"), "cannot identify"),
        (sheet(1000, 64), "1000x64"),
        (sheet(1056, 64), "1056x64"),
        (sheet(1024, 32), "a sheet of 32 tiles"),
        (sheet(1024, 64)[:-20], "damaged"),
    ],
)
def test_a_damaged_sheet(path: Path, webp: np.ndarray, reason: str) -> None:
    write_archive(path, image_set(40))
    rewrite(path, webp=webp, ends=np.array([len(webp)]))
    with pytest.raises(RedhandedError, match=reason):
        read_archive(path)


def test_not_an_npz_file(path: Path) -> None:
    path.parent.mkdir()
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    assert "not an .npz file" in error_of(lambda: read_archive(path))
    path.unlink()
    assert "does not exist" in error_of(lambda: read_archive(path))
