"""Where results live: one JSON record a cell, and its artefacts in a folder of the same key."""

import json
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from redhanded.errors import RedhandedError
from redhanded.files import whole

Record = dict[str, Any]
"""Flat: every varied field, every metric, provenance."""


@runtime_checkable
class Keyed(Protocol):
    """What the store files things under."""

    @property
    def key(self) -> str: ...

    @property
    def label(self) -> str: ...


class Store:
    """Records in one folder, artefacts in another, made when needed; all appears whole or not at all."""

    def __init__(self, records: Path, artefacts: Path) -> None:
        self.records = records
        self.artefacts = artefacts

    def record_path(self, cell: Keyed) -> Path:
        """Return the record's path: derived from the cell's definition alone."""
        return self.records / f"{cell.label}-{cell.key[:16]}.json"

    def record(self, cell: Keyed) -> Record | None:
        """Return the cell's record, or None if it was not finished."""
        path = self.record_path(cell)
        return _read(path, "record", "delete it to run its cell again") if path.is_file() else None

    def save_record(self, cell: Keyed, record: Record) -> None:
        path = self.record_path(cell)
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as partial:
            partial.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    @contextmanager
    def alone(self, cell: Keyed, waiting: Callable[[str], AbstractContextManager[Any]]) -> Iterator[None]:
        """Be the only process that works on a cell; wait, and tell `waiting` why, while another one does.

        The lock is the operating system's: it ends with its process, however that ends. Machines that share
        the folder need a file system that locks across them.
        """
        from filelock import FileLock, Timeout

        folder = self.artefacts / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        lock, owner = FileLock(folder / f"{cell.key[:32]}.lock"), folder / f"{cell.key[:32]}.owner"
        try:
            lock.acquire(timeout=0)
        except Timeout:
            who = owner.read_text(encoding="utf-8") if owner.is_file() else "another process"
            with waiting(f"{cell.label}: {who} works on it; waiting") as tell:
                while not lock.is_locked:
                    tell(0, 1)
                    with suppress(Timeout):
                        lock.acquire(timeout=1)
        try:
            with whole(owner) as partial:
                partial.write_text(f"process {os.getpid()} on {platform.node()}", encoding="utf-8")
            yield
        finally:
            lock.release()

    def artefact(self, cell: Keyed) -> Path | None:
        """Return the folder of the cell's artefacts, or None if they are not here."""
        path = self.artefacts / cell.key[:32]
        return path if path.is_dir() else None

    def scratch(self, cell: Keyed) -> Path:
        """Return a folder for unfinished work: it survives a kill, and becomes the artefacts when done."""
        path = self.artefacts / f"{cell.key[:32]}.unfinished"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def keep(self, cell: Keyed) -> Path:
        """Turn the scratch folder into the artefacts."""
        path = self.artefacts / cell.key[:32]
        if path.is_dir():  # another process was faster: equal key, equal content
            shutil.rmtree(self.scratch(cell))
        else:
            self.scratch(cell).replace(path)
        return path


def read_records(folder: Path) -> Iterator[Record]:
    """Yield every record of a folder, by name; raises `RedhandedError` for a file that is not JSON."""
    for path in sorted(folder.glob("*.json")):
        record = _read(path, "records", "delete it")
        if isinstance(record, dict):
            yield record


def _read(path: Path, field: str, cure: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RedhandedError(f"{field}: {path} is not JSON ({error}); {cure}") from error
