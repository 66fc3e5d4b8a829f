"""A query stream that outlives its run: what was sent, what was answered, and where each query came from."""

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
import torch

from redhanded.errors import RedhandedError
from redhanded.lab.types import Round
from redhanded.types import ImageArray, Int, OutputArray

KINDS = ("seed", "augmented", "student", "gradient", "pool")
_FIELDS = ("images", "outputs", "parents", "targets", "kinds", "rounds")


@dataclass(frozen=True)
class QueryLog:
    """All queries of an attack in the order sent; one `.npy` file a field."""

    images: ImageArray
    outputs: OutputArray
    parents: Int[np.ndarray, " n"]
    """Place of the query each was crafted from; -1 for a seed."""
    targets: Int[np.ndarray, " n"]
    kinds: Int[np.ndarray, " n"]
    """Place in `KINDS`."""
    rounds: Int[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def of(cls, rounds: Iterable[Round]) -> "QueryLog":
        parts = list(rounds)
        sizes = [len(part.sent) for part in parts]
        return cls(
            torch.cat([part.sent for part in parts]).cpu().numpy(),
            torch.cat([part.labels for part in parts]).cpu().numpy(),
            torch.cat([part.parents for part in parts]).numpy().astype(np.int64),
            torch.cat([part.targets for part in parts]).numpy().astype(np.int64),
            np.repeat([KINDS.index(part.kind) for part in parts], sizes).astype(np.int64),
            np.repeat(np.arange(len(parts)), sizes).astype(np.int64),
        )

    @classmethod
    def load(cls, directory: Path) -> "QueryLog":
        """Read a log, its images mapped from disk; raises `RedhandedError` if it is not whole."""
        try:
            arrays = {
                name: np.load(directory / f"{name}.npy", mmap_mode="r" if name == "images" else None)
                for name in _FIELDS
            }
        except (OSError, ValueError) as error:
            raise RedhandedError(
                f"log: {directory} is not a whole query log ({error}); run the attack again"
            ) from error
        if len({len(array) for array in arrays.values()}) != 1:
            raise RedhandedError(f"log: the files of {directory} differ in length; run the attack again")
        return cls(**arrays)


class LogWriter:
    """Writes a log as its rounds come, and remembers none; a context manager.

    Left without an error, the log is whole and replaces what was in the directory; until then it lies in
    `.partial` files that no reader takes for a log, and after an error they are removed.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._files: dict[str, BinaryIO] = {}
        self._like: QueryLog | None = None
        """A round that tells the shapes and types: the first with queries, if there is one."""
        self._queries = self._rounds = 0
        self._open = ExitStack()

    def __enter__(self) -> "LogWriter":  # noqa: PYI034 - the shape checker cannot read Self
        for name in _FIELDS:
            self._files[name] = self._open.enter_context(self._partial(name).open("wb"))
        return self

    def __call__(self, part: Round) -> None:
        log = QueryLog.of([part])
        log.rounds[:] = self._rounds
        self._rounds += 1
        if self._like is None or (len(log) and not self._queries):
            self._like = log
            self._write_headers(log)
        self._queries += len(log)
        for name, file in self._files.items() if len(log) else ():
            file.write(np.ascontiguousarray(getattr(log, name)).data)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the number of queries where it belongs, and put the files in place, `rounds.npy` last."""
        whole = kind is None and self._like is not None
        with self._open:
            if self._like is not None and whole:
                self._write_headers(self._like)
        if whole:
            (self.directory / f"{_FIELDS[-1]}.npy").unlink(missing_ok=True)  # the old log ends here
        for name in _FIELDS:
            if whole:
                self._partial(name).replace(self.directory / f"{name}.npy")
            else:
                self._partial(name).unlink()
        if not any(self.directory.iterdir()):
            self.directory.rmdir()  # made for a log that there is not

    def _partial(self, name: str) -> Path:
        return self.directory / f"{name}.npy.partial"

    def _write_headers(self, like: QueryLog) -> None:
        """Say what follows; NumPy's headers have room for any number of rows, so they stay as long."""
        for name, file in self._files.items():
            array = getattr(like, name)
            header = np.lib.format.header_data_from_array_1_0(array)
            header |= {"shape": (self._queries, *array.shape[1:]), "fortran_order": False}
            file.seek(0)
            np.lib.format.write_array_header_1_0(file, header)
