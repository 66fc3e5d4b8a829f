"""Download the official archive of a data set, check it, convert it and pack it."""

import contextlib
import hashlib
import logging
import pickle
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from redhanded.errors import RedhandedError
from redhanded.lab.data.archive import data_root, write_archive
from redhanded.lab.data.images import ImageSet
from redhanded.lab.data.sources import SOURCES, Download, Source

Progress = Callable[[str, int, int | None], None]
"""Called with what is under way, how much is done, and how much there is, if known.

What starts with one of `BYTES` is in bytes, the rest in images.
"""
BYTES = ("downloading", "checking")

DOWNLOADS = "downloads"
TIMEOUT_S = (10.0, 60.0)
"""To connect, and between two pieces."""
_STEP = 256
"""Images between two calls of `progress`."""


def fetch(
    name: str, root: Path | None = None, source: Path | None = None, progress: Progress | None = None
) -> list[Path]:
    """Make the archives `<root>/<name>/<split>.npz` that are missing, and return the paths of all.

    Downloads stay in `<root>/downloads/<name>`, so an interrupted fetch does not download them again; nothing
    that is there is overwritten. `source` is the official file (or a folder with the official files) that
    the user downloaded. Raises `RedhandedError` if the set is unknown, needs a login, cannot be downloaded,
    or does not match its checksum.
    """
    entry = _entry(name)
    root = root or data_root()
    targets = {split: root / name / f"{split}.npz" for split in entry.splits}
    report: Progress = progress or (lambda *_: None)
    if not all(path.exists() for path in targets.values()):
        files = _given(name, entry, source, report) if source else _downloaded(name, entry, root, report)
        for image_set in _converted(name, entry, files, report):
            target = targets[image_set.split]
            if not target.exists():
                report(f"packing {name}/{image_set.split}", 0, None)
                try:
                    write_archive(target, image_set)
                except OSError as error:
                    raise RedhandedError(
                        f"data: cannot write {target} ({error.strerror or type(error).__name__}); "
                        "make room or set REDHANDED_DATA to a folder you may write"
                    ) from error
    return list(targets.values())


def _entry(name: str) -> Source:
    fetchable = [known for known, entry in SOURCES.items() if entry.fetchable]
    if name not in SOURCES:
        raise RedhandedError(f"data: unknown data set {name!r}; choose one of {', '.join(fetchable)}")
    if name not in fetchable:
        raise RedhandedError(f"data: {name} has no official download; choose one of {', '.join(fetchable)}")
    return SOURCES[name]


def _given(name: str, entry: Source, source: Path, report: Progress) -> dict[str, Path]:
    files = {}
    for file in entry.files:
        path = source / file.filename if source.is_dir() or len(entry.files) > 1 else source
        if not path.is_file():
            needed = " and ".join(file.filename for file in entry.files)
            raise RedhandedError(f"from: {path} does not exist; {name} needs {needed} from {entry.page}")
        _check(path, file, report)
        files[file.filename] = path
    return files


def _check(path: Path, file: Download, report: Progress) -> None:
    algorithm, _, known = file.checksum.partition(":")
    digest, size, done = hashlib.new(algorithm), path.stat().st_size, 0
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 22):
            digest.update(chunk)
            done += len(chunk)
            report(f"checking {file.filename}", done, size)
    if digest.hexdigest() != known:
        raise RedhandedError(
            f"from: the {algorithm} of {path} is {digest.hexdigest()}, not {known}; "
            "the file is cut short or another edition, download it again"
        )


def _downloaded(name: str, entry: Source, root: Path, report: Progress) -> dict[str, Path]:
    if entry.needs_login:
        needed = " and ".join(file.filename for file in entry.files)
        raise RedhandedError(
            f"data: {entry.title} needs a login; download {needed} from {entry.page}, "
            f"then run `redhanded data fetch {name} --from PATH`"
        )
    return {file.filename: _download(name, file, root / DOWNLOADS / name, report) for file in entry.files}


def _download(name: str, file: Download, folder: Path, report: Progress) -> Path:
    """Try the addresses in turn; the error is of the last."""
    failure = ""
    for url in file.urls:
        try:
            return _retrieve(url, file, folder, report)
        except ValueError:  # pooch: the checksum does not match
            failure = f"the {file.checksum} does not match what {url} sends"
        except OSError as error:
            failure = _reason(url, folder, error)
    raise RedhandedError(
        f"data: {failure}; try again later, or download {file.filename} yourself "
        f"and run `redhanded data fetch {name} --from PATH`"
    )


def _reason(url: str, folder: Path, error: OSError) -> str:
    import requests

    if not isinstance(error, requests.RequestException):
        return f"cannot write to {folder} ({error.strerror or type(error).__name__})"
    answer = type(error).__name__ if error.response is None else f"HTTP {error.response.status_code}"
    return f"cannot download {url} ({answer})"


def _retrieve(url: str, file: Download, folder: Path, report: Progress) -> Path:
    try:
        import pooch
    except ModuleNotFoundError as error:
        raise RedhandedError("data: fetching needs pooch; install `redhanded[lab]`") from error

    bar = _Bar(f"downloading {file.filename}", report)
    downloader = pooch.HTTPDownloader(progressbar=bar, timeout=TIMEOUT_S, chunk_size=1 << 20)
    with _quiet(pooch.get_logger()):
        return Path(
            pooch.retrieve(url, file.checksum, fname=file.filename, path=folder, downloader=downloader)
        )


@contextlib.contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    # only the command line speaks
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@dataclass
class _Bar:
    """What pooch takes for a progress bar."""

    what: str
    report: Progress
    done: int = 0
    total: int = 0

    def update(self, amount: int) -> None:
        self.done += amount
        self.report(self.what, min(self.done, self.total or self.done), self.total or None)

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        pass


def _converted(name: str, entry: Source, files: Mapping[str, Path], report: Progress) -> Iterator[ImageSet]:
    assert entry.convert is not None
    total, lacking = sum(entry.splits.values()), set(entry.splits)

    def tick(done: int) -> None:
        if done % _STEP == 0 or done >= total:
            report(f"converting {name}", done, total)

    try:
        for image_set in entry.convert(name, files, tick):
            lacking.discard(image_set.split)
            yield image_set
        if lacking:
            raise ValueError(f"no images for {', '.join(sorted(lacking))}")
    except _DAMAGE as error:
        paths = ", ".join(str(path) for path in files.values())
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise RedhandedError(
            f"data: {paths} is damaged or not laid out as the official {entry.title} ({reason}); "
            "download it again"
        ) from error


_DAMAGE = (
    # The containers, then what a well-formed container with other content leads to.
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    pickle.UnpicklingError,
    OSError,
    EOFError,
    ArithmeticError,
    AttributeError,
    LookupError,
    NotImplementedError,
    TypeError,
    ValueError,
)
