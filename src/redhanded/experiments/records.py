"""Records as a folder of files, whatever cells they came from."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from redhanded.errors import RedhandedError
from redhanded.experiments.store import Record
from redhanded.experiments.worlds import WORLDS


def read_records(folder: Path) -> Iterator[Record]:
    """Yield every record of a folder, by name; raises `RedhandedError` for a file that is not JSON."""
    for path in sorted(folder.glob("*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RedhandedError(f"records: {path} is not JSON ({error}); delete it") from error
        if isinstance(record, dict):
            yield record


def plain(extractions: Iterable[Record]) -> list[Record]:
    """Return the thefts that show an attack as it is, so that no figure takes them together with others.

    Nothing is adapted, images come from the world's own sets, and of thefts that differ in their budget alone
    those of the largest are taken.
    """
    own = {name: _own_sets(name) for name in WORLDS}
    found = [
        record
        for record in extractions
        if record.get("adaptation", "none") == "none"
        and record["query_set"] in own.get(record["world"], {record["query_set"]})
    ]
    largest: dict[tuple[str, str, int], int] = {}
    for record in found:
        theft = _theft(record)
        largest[theft] = max(largest.get(theft, 0), record["budget"])
    return [record for record in found if record["budget"] == largest[_theft(record)]]


def _own_sets(world: str) -> set[str]:
    made = WORLDS[world]()
    return {made.query_set.name, made.pool.name}


def _theft(record: Record) -> tuple[str, str, int]:
    return record["world"], record["attack"], record["n_seed"]
