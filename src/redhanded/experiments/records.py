"""Records as a folder of files, whatever cells they came from."""

import json
from collections.abc import Iterator
from pathlib import Path

from redhanded.errors import RedhandedError
from redhanded.experiments.store import Record


def read_records(folder: Path) -> Iterator[Record]:
    """Yield every record of a folder, by name; raises `RedhandedError` for a file that is not JSON."""
    for path in sorted(folder.glob("*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RedhandedError(f"records: {path} is not JSON ({error}); delete it") from error
        if isinstance(record, dict):
            yield record
