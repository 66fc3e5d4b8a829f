"""A cell's key: the hash of its canonical JSON, so that equal settings are computed once."""

import hashlib
import json
from dataclasses import fields, is_dataclass
from typing import Any


def canonical(value: Any) -> Any:
    """Return a value of dataclasses, tuples and scalars as plain JSON values.

    A dataclass becomes its fields with its type's name and hand-bumped `version`; bumping it discards what
    was computed with the old behaviour. A field marked `ADDED` is left out at its default. The code revision
    is not part of it: a commit must not discard results.
    """
    if is_dataclass(value) and not isinstance(value, type):
        named = {
            f.name: canonical(getattr(value, f.name))
            for f in fields(value)
            if not (f.metadata.get("added") and getattr(value, f.name) == f.default)
        }
        return {"type": type(value).__name__, "version": getattr(value, "version", 1)} | named
    if isinstance(value, tuple | list):
        return [canonical(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{type(value).__name__} has no canonical form")


def key_of(value: Any) -> str:
    """SHA-256 of the canonical JSON, 64 hexadecimal digits."""
    text = json.dumps(canonical(value), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
