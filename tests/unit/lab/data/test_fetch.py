"""Fetching: checked, converted, packed; and one clear line when it cannot be."""

import contextlib
import functools
import hashlib
import http.server
import io
import socket
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from redhanded.errors import RedhandedError
from redhanded.lab.data.archive import load
from redhanded.lab.data.fetch import fetch
from redhanded.lab.data.sources import SOURCES, Download

pytest.importorskip("pooch")

MODULE = sys.modules["redhanded.lab.data.fetch"]


def cinic10() -> bytes:
    buffer, png = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (32, 32), (1, 2, 3)).save(png, "PNG")
    with tarfile.open(fileobj=buffer, mode="w:bz2") as tar:
        for name in ("train/cat/a.png", "train/dog/b.png", "valid/cat/c.png", "test/dog/d.png"):
            member = tarfile.TarInfo(name)
            member.size = len(png.getvalue())
            tar.addfile(member, io.BytesIO(png.getvalue()))
    return buffer.getvalue()


def md5(content: bytes) -> str:
    return f"md5:{hashlib.md5(content).hexdigest()}"


@pytest.fixture
def offer(monkeypatch):
    """Change where CINIC-10 comes from and what its checksum is."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def change(*urls: str, checksum: str) -> None:
        file = Download("CINIC-10.tar.gz", urls, checksum, "test")
        entry = replace(SOURCES["cinic10"], files=(file,))
        monkeypatch.setattr(MODULE, "SOURCES", {**SOURCES, "cinic10": entry})

    return change


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        self.server.requests.append(self.path)


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[tuple[str, list[str]]]:
    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.requests = []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", server.requests
        finally:
            server.shutdown()
            thread.join()


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/CINIC-10.tar.gz"


def error_of(*args: object, **kwargs: object) -> str:
    with pytest.raises(RedhandedError) as raised:
        fetch(*args, **kwargs)
    message = str(raised.value)
    assert "\n" not in message
    return message


def test_download_convert_pack_and_not_again(tmp_path: Path, offer) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "c.tar.gz").write_bytes(cinic10())
    root, seen = tmp_path / "root", []
    with serving(tmp_path / "web") as (address, requests):
        offer(f"{address}/gone.tar.gz", f"{address}/c.tar.gz", checksum=md5(cinic10()))
        paths = fetch("cinic10", root, progress=lambda *args: seen.append(args))
        assert paths == [root / "cinic10" / f"{split}.npz" for split in ("train", "valid", "test")]
        assert requests[-1] == "/c.tar.gz"
        before = len(requests)
        assert fetch("cinic10", root) == paths
        assert len(requests) == before
        # Only the missing split is made again, from the download that was kept.
        kept = paths[0].stat().st_mtime_ns
        paths[1].unlink()
        fetch("cinic10", root)
        assert len(requests) == before
        assert paths[0].stat().st_mtime_ns == kept
    loaded = load("cinic10", "train", root)
    assert loaded.classes == ("cat", "dog")
    assert sorted(loaded.labels.tolist()) == [0, 1]
    assert loaded.images[0, 0, 0].tolist() == [1, 2, 3]
    assert len(load("cinic10", "valid", root)) == 1
    size = len(cinic10())
    assert ("downloading CINIC-10.tar.gz", size, size) in seen
    assert [what for what, *_ in seen if what.startswith("packing")] == [
        "packing cinic10/test",
        "packing cinic10/train",
        "packing cinic10/valid",
    ]


def test_no_network_is_one_quick_line(tmp_path: Path, offer) -> None:
    offer(closed_port(), checksum=md5(b""))
    start = time.monotonic()
    message = error_of("cinic10", tmp_path)
    assert time.monotonic() - start < 60  # a hang would take minutes
    assert message.startswith("data: cannot download http://127.0.0.1")
    assert "ConnectionError" in message
    assert "--from PATH" in message


def test_a_missing_page_names_the_status(tmp_path: Path, offer) -> None:
    with serving(tmp_path) as (address, _):
        offer(f"{address}/none", checksum=md5(b""))
        assert "HTTP 404" in error_of("cinic10", tmp_path / "root")


def test_a_wrong_checksum(tmp_path: Path, offer) -> None:
    (tmp_path / "c.tar.gz").write_bytes(cinic10())
    with serving(tmp_path) as (address, _):
        offer(f"{address}/c.tar.gz", checksum=md5(b"other"))
        message = error_of("cinic10", tmp_path / "root")
    assert md5(b"other") in message
    assert "does not match" in message
    assert not (tmp_path / "root" / "cinic10").exists()


@pytest.mark.parametrize("as_folder", [False, True])
def test_from_a_file_of_the_user(tmp_path: Path, offer, as_folder: bool) -> None:
    own = tmp_path / "CINIC-10.tar.gz"
    own.write_bytes(cinic10())
    offer(closed_port(), checksum=md5(cinic10()))
    fetch("cinic10", tmp_path / "root", source=tmp_path if as_folder else own)
    assert len(load("cinic10", "train", tmp_path / "root")) == 2
    assert own.read_bytes() == cinic10()


def test_from_a_wrong_or_missing_file(tmp_path: Path, offer) -> None:
    own = tmp_path / "CINIC-10.tar.gz"
    own.write_bytes(cinic10()[:-9])
    offer(closed_port(), checksum=md5(cinic10()))
    message = error_of("cinic10", tmp_path / "root", source=own)
    assert str(own) in message
    assert md5(cinic10()).removeprefix("md5:") in message
    assert own.exists()
    assert "does not exist" in error_of("cinic10", tmp_path / "root", source=tmp_path / "none")
    # A set of two files needs a folder, whatever the path is.
    assert "train_32x32.mat and test_32x32.mat" in error_of("svhn", tmp_path / "root", source=own)


@pytest.mark.parametrize("content", [b"", b"junk" * 99, cinic10()[:200], b"\x1f\x8b"])
def test_a_damaged_archive(tmp_path: Path, offer, content: bytes) -> None:
    own = tmp_path / "c.tar.gz"
    own.write_bytes(content)
    offer(closed_port(), checksum=md5(content))
    message = error_of("cinic10", tmp_path / "root", source=own)
    assert str(own) in message
    assert "download it again" in message


@pytest.mark.parametrize("name", ["cifar10", "tinyimagenet", "svhn", "imagenet1k", "caltech256"])
def test_any_set_says_when_a_file_is_junk(tmp_path: Path, name: str, monkeypatch) -> None:
    entry = SOURCES[name]
    files = tuple(replace(file, checksum=md5(b"junk")) for file in entry.files)
    changed = {**SOURCES, name: replace(entry, files=files)}
    monkeypatch.setattr(MODULE, "SOURCES", changed)
    for file in files:
        (tmp_path / file.filename).write_bytes(b"junk")
    assert "is damaged or not laid out as the official" in error_of(name, tmp_path / "root", source=tmp_path)


def test_an_archive_without_images_is_not_silently_nothing(tmp_path: Path, offer) -> None:
    own = tmp_path / "c.tar.gz"
    with tarfile.open(own, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("readme"), io.BytesIO())
    offer(closed_port(), checksum=md5(own.read_bytes()))
    assert "no images for test, train, valid" in error_of("cinic10", tmp_path / "root", source=own)


def test_imagenet_needs_a_login(tmp_path: Path) -> None:
    message = error_of("imagenet1k", tmp_path)
    assert "needs a login" in message
    assert "ILSVRC2012_img_train.tar" in message
    assert "redhanded data fetch imagenet1k --from PATH" in message


@pytest.mark.parametrize("name", ["caltech101", "cifar11", "../cifar10"])
def test_what_cannot_be_fetched(tmp_path: Path, name: str) -> None:
    message = error_of(name, tmp_path)
    assert name in message
    assert "choose one of cifar10, tinyimagenet" in message
    assert list(tmp_path.iterdir()) == []


def test_a_root_that_is_a_file(tmp_path: Path, offer) -> None:
    (tmp_path / "root").write_text("mine", encoding="utf-8")
    own = tmp_path / "c.tar.gz"
    own.write_bytes(cinic10())
    offer(closed_port(), checksum=md5(cinic10()))
    assert "cannot write" in error_of("cinic10", tmp_path / "root", source=own)
    assert "cannot write" in error_of("cinic10", tmp_path / "root")
    assert (tmp_path / "root").read_text(encoding="utf-8") == "mine"
