"""What to know of each table before comparing it with the paper's: what differs by construction."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True)
class Remark:
    """Where the paper has a table, and what differs from it."""

    section: str
    differs: str
    smaller: str = ""
    """What differs besides in a world that is smaller than the paper's."""


def _listed() -> dict[str, Remark]:
    text = resources.files("redhanded.experiments.tables").joinpath("remarks.toml").read_text("utf-8")
    tables = tomllib.loads(text)
    phrases: dict[str, str] = {}
    for name, phrase in tables.pop("phrases").items():
        phrases[name] = phrase.format(**phrases)
    return {
        table: Remark(**{part: words.format(**phrases) for part, words in said.items()})
        for table, said in tables.items()
    }


REMARKS: Mapping[str, Remark] = _listed()
"""By table, in the paper's order."""
