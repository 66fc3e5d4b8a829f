"""What a page about a run shows: plain values, no torch, filled from records and query logs."""

from dataclasses import dataclass

import numpy as np

from redhanded.types import Float64, Int, UInt8

HONEST = "honest user"
"""Name of the benign stream among the streams of a view."""


@dataclass(frozen=True)
class Row:
    """One attack's bill."""

    attack: str
    fidelity: str
    order: str
    accuracy: float
    """Share of the victim's test images that the clone gets right."""
    agreement: float
    """Share of them on which clone and victim answer alike."""
    queries: int
    flags: int
    flag_rate: float
    bans: int
    accounts_used: int
    benign_floor: float
    """Bans that an honest stream of the same length makes; may be fractional."""
    seed: int


@dataclass(frozen=True)
class FlaggedPair:
    """A query and the nearest earlier query of the same account."""

    query: UInt8[np.ndarray, "32 32 3"]
    neighbour: UInt8[np.ndarray, "32 32 3"]
    distance: float


@dataclass(frozen=True)
class Stream:
    """One query stream as the detector saw it, in order of arrival."""

    name: str
    counts: Int[np.ndarray, " n"]
    """Flags each query added."""
    bans: Int[np.ndarray, " b"]
    """Places of the queries that closed an account."""
    nearest: Float64[np.ndarray, " n"]
    """Distance to the nearest neighbour in the account's history; inf if none within the searched radius."""
    pairs: tuple[FlaggedPair, ...] = ()
    accuracy: tuple[tuple[int, float], ...] = ()
    """Queries so far, extraction accuracy; empty for a stream that trains no clone."""


@dataclass(frozen=True)
class BenignRow:
    """What the detector did to one held-out benign stream; intervals are 95%."""

    name: str
    length: int
    flags: int
    flag_rate: float
    flag_rate_low: float
    flag_rate_high: float
    bans: int
    fpr: float
    """Bans per query."""
    fpr_low: float
    fpr_high: float


@dataclass(frozen=True)
class EncoderRow:
    """One encoder's embedding of benign images."""

    loss: str
    delta: float
    effective_rank: float
    first_axis_share: float
    """Share of the embedding's variance on its first principal axis."""


@dataclass(frozen=True)
class View:
    title: str
    world: str
    victim_accuracy: float
    rows: tuple[Row, ...]
    streams: tuple[Stream, ...]
    """The attacks, then the honest stream, named `HONEST`."""
    delta: float
    fpr_target: float
    """Bans per benign query that delta was calibrated to."""
    calibration_length: int
    heldout: tuple[BenignRow, ...]
    encoders: tuple[EncoderRow, ...]
    seconds: float
    provenance: dict[str, str]

    @property
    def attacks(self) -> tuple[Stream, ...]:
        return tuple(stream for stream in self.streams if stream.name != HONEST)

    @property
    def honest(self) -> Stream | None:
        return next((stream for stream in self.streams if stream.name == HONEST), None)
