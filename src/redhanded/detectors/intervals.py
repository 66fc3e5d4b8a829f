"""Intervals of rates: flags are rare events, bans are sums of 50 of them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

from redhanded.types import Float64, Int

CONFIDENCE = 0.95  # of every interval here


def last_within(steps: Float64[np.ndarray, " k"], flags: Callable[[float], int], allowed: int) -> int:
    """Bisect for the place of the last threshold at which a stream earns at most `allowed` flags.

    A ban wipes a history, so fewer flags may follow at a looser threshold. Then the next larger one breaks
    the rule, but not every larger one. The first is not asked.
    """
    low, high = 0, len(steps)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if flags(float(steps[middle])) <= allowed else (low, middle)
    return low


def clopper_pearson(events: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Exact binomial interval of a rate (Clopper and Pearson 1934); (0, 1) for no trials."""
    if trials == 0:
        return 0.0, 1.0
    tail = (1 - confidence) / 2
    low = 0.0 if events == 0 else float(betaincinv(events, trials - events + 1, tail))
    high = 1.0 if events == trials else float(betaincinv(events + 1, trials - events, 1 - tail))
    return low, high


def ban_rate_interval(
    counts: Int[np.ndarray, " n"], flags_to_ban: int, draws: int = 2000
) -> tuple[float, float]:
    """Interval of bans per query by a circular-block bootstrap over the per-query counts of a benign stream.

    A ban is a sum of `flags_to_ban` flags, so its rate is far less noisy than a binomial's. Blocks of 500
    queries (a fiftieth of a stream below 25,000) keep the runs of neighbouring flags (Politis and Romano
    1992). The draws are seeded. A flagless stream, which cannot be resampled, has the flags' exact interval.
    """
    n = len(counts)
    if n == 0:
        return 0.0, 1.0
    if not counts.any():
        return 0.0, clopper_pearson(0, n)[1] / flags_to_ban
    block = max(1, min(500, n // 50))
    window = np.concatenate([[0], np.cumsum(np.concatenate([counts, counts[: block - 1]]))])
    sums = window[block:] - window[:-block]  # one block from every place, around the end
    rng = np.random.default_rng(0)
    per_draw = max(1, round(n / block))
    totals = sums[rng.integers(0, len(sums), (draws, per_draw))].sum(axis=1)
    rates = totals / (per_draw * block * flags_to_ban)
    low, high = np.quantile(rates, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


@dataclass(frozen=True)
class Replay:
    """What a detector with a given threshold does to a stream that starts with a fresh account."""

    counts: Int[np.ndarray, " n"]
    bans: Int[np.ndarray, " b"]
    """Places of the queries that closed an account."""

    @property
    def flags(self) -> int:
        return int(self.counts.sum())


def rates(replay: Replay, flags_to_ban: int) -> dict[str, float]:
    """Flag rate with its Clopper-Pearson interval and FPR (bans per query) with its block bootstrap.

    The bootstrap speaks of the long run, in which every flag counts towards a ban; a finite stream ends with
    flags that have not made one yet. The interval is widened to hold the observed rate where it does not.
    """
    n = len(replay.counts)
    flagged = int((replay.counts > 0).sum())
    low, high = clopper_pearson(flagged, n)
    fpr = len(replay.bans) / max(n, 1)
    if flags_to_ban == 1:  # then a flag is a ban, and its exact interval is known
        fpr_low, fpr_high = low, high
    else:
        fpr_low, fpr_high = ban_rate_interval(replay.counts, flags_to_ban)
    return {
        "flag_rate": flagged / max(n, 1),
        "flag_rate_low": low,
        "flag_rate_high": high,
        "fpr": fpr,
        "fpr_low": min(fpr, fpr_low),
        "fpr_high": max(fpr, fpr_high),
    }
