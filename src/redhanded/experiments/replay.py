"""Feed a query stream to a guarded victim whose answers are known: one attack, many detectors."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from redhanded.detectors.base import Detector
from redhanded.guard import Guard, Mode
from redhanded.lab.sybil import SybilClient
from redhanded.types import FeatureArray, Float64, ImageArray, Int, OutputArray

BATCH = 256
"""Queries sent at once; it changes no verdict."""


@dataclass(frozen=True)
class Detection:
    """What a guard made of a stream, query by query."""

    counts: Int[np.ndarray, " n"]
    nearest: Float64[np.ndarray, " n"]
    """Distance to the nearest neighbour that raised the flag; inf without one."""
    neighbours: Int[np.ndarray, " n"]
    """Place in the stream of that neighbour; -1 without one."""
    bans: Int[np.ndarray, " b"]
    accounts_used: int

    @property
    def flags(self) -> int:
        """Sum of the counts."""
        return int(self.counts.sum())


class _Recorded:
    """A victim that reads its answers from the log: those to what has not been answered yet."""

    def __init__(self, outputs: OutputArray) -> None:
        self.outputs = outputs
        self.answered = 0

    def __call__(self, images: ImageArray) -> OutputArray:
        return self.outputs[self.answered : self.answered + len(images)]


def replay(
    detector: Detector[Any], images: ImageArray, outputs: OutputArray | None = None, mode: Mode = "paper"
) -> Detection:
    """Send a stream [n, c, h, w] through a `Guard` by an account-hopping client, in its order.

    In mode `enforce` the query that closes an account is sent, and judged, again by the next account; the
    arrays then hold one entry for every judgement.
    """
    if outputs is None:
        outputs = np.zeros((len(images), 1), np.float32)
    victim = _Recorded(outputs)
    client = SybilClient(Guard(victim, detector, mode=mode))
    for at in range(0, len(images), BATCH):
        for answers in client.answers(np.ascontiguousarray(images[at : at + BATCH], dtype=np.float32)):
            victim.answered += len(answers)
    return detection_of(client)


def detection_of(client: SybilClient) -> Detection:
    """Gather what a client's guard has judged so far; neighbours are counted from the stream's start."""
    counts, scores, nearest = (
        np.concatenate([getattr(verdict, name) for verdict in client.verdicts] or [np.empty(0)])
        for name in ("counts", "scores", "nearest")
    )
    bans = np.array(client.bans, np.int64)
    # an account's log starts after the ban before it
    opened = np.concatenate([[0], bans + 1])[np.searchsorted(bans, np.arange(len(counts)))]
    neighbours = np.where(nearest >= 0, nearest + opened, -1).astype(np.int64)
    return Detection(
        counts.astype(np.int64), scores.astype(np.float64), neighbours, bans, client.accounts_used
    )


def nearest_in_account(features: FeatureArray, bans: Int[np.ndarray, " b"]) -> Float64[np.ndarray, " n"]:
    """Distance of every query to the nearest earlier one of its account, however far; inf for the first.

    For histograms: a matrix product in float64 is exact enough to draw, though not to decide.
    """
    nearest = np.full(len(features), np.inf)
    for start, stop in pairwise([0, *(bans + 1).tolist(), len(features)]):
        account = features[start:stop].astype(np.float64)
        squares = np.square(account).sum(axis=1)
        for at in range(0, len(account), 1024):
            rows = np.arange(at, min(at + 1024, len(account)))
            squared = (
                squares[rows, None]
                + squares[None, : rows[-1] + 1]
                - 2 * account[rows] @ account[: rows[-1] + 1].T
            )
            squared[np.arange(rows[-1] + 1)[None, :] >= rows[:, None]] = np.inf
            nearest[start + rows] = np.sqrt(squared.min(axis=1).clip(min=0))
    return nearest
