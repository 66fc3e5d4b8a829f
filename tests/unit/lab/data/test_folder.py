"""A user's own images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from redhanded.errors import RedhandedError
from redhanded.lab.data.folder import read_images


def save(path: Path, colour: tuple[int, ...] = (255, 0, 51), mode: str = "RGB", size: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (size, size), colour if len(colour) > 1 else colour[0]).save(path)


def test_pixels_are_rgb_between_0_and_1(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    read = read_images(tmp_path, size=4)
    assert read.images.dtype == np.float32
    assert read.images.shape == (1, 3, 4, 4)
    assert np.allclose(read.images[0, :, 0, 0], [1, 0, 0.2])
    assert read.labels is None
    assert read.classes == ()


def test_an_image_of_the_right_size_is_read_to_the_bit(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(read_images(tmp_path).images[0], pixels.transpose(2, 0, 1) / np.float32(255))


def test_the_whole_image_is_resized_bilinear(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 50, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    expected = Image.fromarray(pixels).resize((32, 32), Image.Resampling.BILINEAR)
    assert np.array_equal(
        read_images(tmp_path).images[0], np.asarray(expected, np.float32).transpose(2, 0, 1) / np.float32(255)
    )


def test_sorted_by_path_whatever_the_format(tmp_path: Path) -> None:
    for name in ("b.jpg", "c/a.PNG", "a.bmp", "c.gif", "d/a.tif"):
        save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "._a.png").write_bytes(b"left by a file manager")
    save(tmp_path / ".cache" / "x.png")
    read = read_images(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in read.paths] == [
        "a.bmp",
        "b.jpg",
        "c/a.PNG",
        "c.gif",
        "d/a.tif",
    ]
    assert read.labels is None  # images lie beside the subfolders


def test_one_subfolder_a_class(tmp_path: Path) -> None:
    for name in ("dog/1.png", "cat/2.png", "cat/deep/1.png", "cat/1.png"):
        save(tmp_path / name)
    read = read_images(tmp_path)
    assert read.classes == ("cat", "dog")
    assert read.labels is not None
    assert read.labels.tolist() == [0, 0, 0, 1]
    assert len(read.images) == 4


def test_numbered_classes_keep_their_numbers(tmp_path: Path) -> None:
    for number in range(11):
        save(tmp_path / str(number) / "a.png")
    read = read_images(tmp_path)
    assert read.labels is not None
    assert [(int(path.parent.name), label) for path, label in zip(read.paths, read.labels, strict=True)] == [
        (number, number) for number in (0, 1, 10, 2, 3, 4, 5, 6, 7, 8, 9)
    ]


def test_a_single_subfolder_is_no_class(tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.png")
    assert read_images(tmp_path).labels is None


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [("L", (51,), [0.2] * 3), ("RGBA", (255, 0, 51, 255), [1, 0, 0.2]), ("1", (1,), [1, 1, 1])],
)
def test_other_modes_become_rgb(
    tmp_path: Path, mode: str, colour: tuple[int, ...], expected: list[float]
) -> None:
    save(tmp_path / "a.png", colour, mode)
    assert np.allclose(read_images(tmp_path).images[0, :, 0, 0], expected)


def test_a_palette_with_transparency_reads_without_a_warning(tmp_path: Path) -> None:
    picture = Image.new("P", (4, 4), 1)
    picture.putpalette([0, 0, 0, 255, 0, 51])
    picture.save(tmp_path / "a.png", transparency=b"\x00\xff")
    assert np.allclose(read_images(tmp_path).images[0, :, 0, 0], [1, 0, 0.2])


def test_sixteen_bits_are_refused_rather_than_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 30_000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(RedhandedError, match=r"deep\.png has more than 8 bits"):
        read_images(tmp_path)


def test_a_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(RedhandedError, match="nowhere is not a directory"):
        read_images(tmp_path / "nowhere")


def test_no_images(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("no image")
    with pytest.raises(RedhandedError, match="holds no images"):
        read_images(tmp_path)


def test_an_empty_class(tmp_path: Path) -> None:
    save(tmp_path / "a" / "1.png")
    save(tmp_path / "c" / "1.png")
    (tmp_path / "b").mkdir()
    with pytest.raises(RedhandedError, match=r"subfolder b of .* holds no images"):
        read_images(tmp_path)


def test_size_is_checked(tmp_path: Path) -> None:
    with pytest.raises(RedhandedError, match=r"^size: "):
        read_images(tmp_path, size=0)


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "tif", "bmp", "webp"])
@pytest.mark.parametrize("kept", [0, 0.1, 0.5])
def test_a_broken_file_is_named(tmp_path: Path, suffix: str, kept: float) -> None:
    path = tmp_path / f"broken.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(RedhandedError, match=rf"cannot read .*broken\.{suffix}"):
        read_images(tmp_path)
