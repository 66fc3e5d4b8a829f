"""What an attack crafted, iteration by iteration (§IV-B).

The paper speaks of shares of the generated data: an iteration weighs as many images as it crafted, and the
first, of a few seeds, far less than the last.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from redhanded.experiments.claims.reader import NotMeasuredError, Reader
from redhanded.experiments.claims.sample import Sample
from redhanded.experiments.runner.store import Record

TRACED = "traits_confidence_surrogate"
"""Histograms, one an iteration, of the images that the traits of the iteration are of."""


class NothingCraftedError(NotMeasuredError):
    """An attack sent its seeds alone: there is no share of anything, and its clone is the baseline's."""


class Weighted(NamedTuple):
    """A mean, and the number of images it is of."""

    value: float
    images: int


def crafted(read: Reader, table: str, attack: str) -> list[Record]:
    """Return an attack's records, one a seed, of those seeds from which it crafted anything."""
    sent, seeds = (read.fields(name, table, attack) for name in ("queries", "n_seed"))
    records = zip(read.records(table, attack), sent, seeds, strict=True)
    found = [record for record, queries, seed_images in records if queries > seed_images]
    if not found:
        raise NothingCraftedError(f"Table {table.upper()}: {attack} could craft nothing")
    return found


def rounds(read: Reader, table: str, attack: str, trait: str) -> list[list[Weighted]]:
    """Return a trait at each iteration, one list a seed."""
    records = crafted(read, table, attack)
    for name in (trait, TRACED):
        if any(record.get(name) is None for record in records):
            raise NotMeasuredError(f"Table {table.upper()}: {attack}: its record has no {name!r}")
    return [
        [
            Weighted(float(value), sum(histogram))
            for value, histogram in zip(record[trait], record[TRACED], strict=True)
        ]
        for record in records
    ]


def iterations(read: Reader, table: str, attack: str, trait: str) -> list[Sample]:
    """Return a trait at each iteration, over all images of all seeds."""
    return [
        _sample([[part] for part in parts])
        for parts in zip(*rounds(read, table, attack, trait), strict=False)
    ]


def overall(read: Reader, table: str, attack: str, trait: str) -> Sample:
    """Return a trait over all images of all iterations and seeds."""
    return _sample(rounds(read, table, attack, trait))


def _sample(seeds: Sequence[Sequence[Weighted]]) -> Sample:
    """Pool all images; what varies is each seed's own share."""
    own = Sample.of([_pooled(parts) for parts in seeds])
    return replace(own, mean=_pooled(part for parts in seeds for part in parts))


def _pooled(parts: Iterable[Weighted]) -> float:
    kept = list(parts)
    return sum(part.value * part.images for part in kept) / sum(part.images for part in kept)
