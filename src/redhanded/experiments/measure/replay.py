"""Feed a query stream to a guarded victim whose answers are known: one attack, many detectors."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from redhanded.detectors.base import Detector, Verdict
from redhanded.guard import Guard, Mode
from redhanded.guard.guard import GLOBAL
from redhanded.lab.sybil import Judgement, Policy, SybilClient, UntilBanned
from redhanded.types import FeatureArray, Float64, ImageArray, Int, OutputArray

BATCH = 256
"""Queries sent at once: the victim is a recording, so what a ban wastes costs nothing."""


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
        return int(self.counts.sum())


def replay(
    detector: Detector[Any],
    images: ImageArray,
    outputs: OutputArray | None = None,
    mode: Mode = "paper",
    policy: Policy = UntilBanned(),  # noqa: B008 - frozen
) -> Detection:
    """Send a stream [n, c, h, w] through a `Guard` by an account-hopping client, in its order.

    `policy` chooses the account of each query. In mode `enforce` the query that closes an account is sent,
    and judged, again by the account that replaces it; the arrays then hold one entry for every judgement.
    """
    if outputs is None:
        outputs = np.zeros((len(images), 1), np.float32)

    def victim(asked: ImageArray) -> OutputArray:
        del asked  # the client knows where in the stream they stand
        return np.asarray(outputs[client.sending])

    judgements: list[Judgement] = []
    guard = Guard(victim, detector, mode=mode)
    client = SybilClient(guard, policy=policy, batch=BATCH, watch=judgements.append)
    for at in range(0, len(images), BATCH):
        client.answers(np.ascontiguousarray(images[at : at + BATCH], dtype=np.float32))
    return detection_of(client, judgements)


def detection_of(client: SybilClient, judgements: Sequence[Judgement]) -> Detection:
    """Gather what a client's guard has judged so far, in the order of the stream, whoever sent each query."""
    joined = Verdict.joined([judgement.verdict for judgement in judgements])
    sent = [judgement.places[: judgement.verdict.judged] for judgement in judgements]
    places = np.concatenate([*sent, np.empty(0, np.int64)])
    order = np.argsort(places, kind="stable")  # of what was judged twice, the first time comes first
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    shared = client.guard.detector.scope == "global"
    return Detection(
        joined.counts[order],
        joined.scores[order],
        _neighbours(judgements, joined.nearest, rank, shared=shared)[order],
        np.sort(rank[np.array(client.bans, np.int64)]),
        client.accounts_used,
    )


def _neighbours(
    judgements: Sequence[Judgement],
    nearest: Int[np.ndarray, " n"],
    rank: Int[np.ndarray, " n"],
    *,
    shared: bool,
) -> Int[np.ndarray, " n"]:
    """Return where in the stream the neighbours stand whose places in a log are `nearest`, as judged.

    `rank` is where each judgement stands in the stream; all accounts may share one log.
    """
    logs: defaultdict[str, list[np.ndarray]] = defaultdict(list)
    at = 0
    for account, _, verdict in judgements:
        logs[GLOBAL if shared else account].append(np.arange(at, at + verdict.judged))
        at += verdict.judged
    neighbours = np.full(len(nearest), -1, np.int64)
    for parts in logs.values():
        judged = np.concatenate(parts)
        found = judged[nearest[judged] >= 0]
        neighbours[found] = rank[judged[nearest[found]]]
    return neighbours


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
