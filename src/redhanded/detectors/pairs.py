"""From a benign stream to a threshold: one pass stores all near pairs, then the wipes are replayed per δ."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from redhanded.detectors.index import near_pairs
from redhanded.detectors.intervals import Replay, last_within, rates
from redhanded.detectors.similarity import Count
from redhanded.errors import RedhandedError
from redhanded.types import FeatureArray, Float64, Int

FPR = 1e-4
"""The paper's target: bans per benign query (§II-C). With 50 flags to a ban, 0.5% of queries are flagged."""


@dataclass(frozen=True)
class NearPairs:
    """All pairs of a stream nearer than `radius`, sorted by (later, earlier).

    Not only the nearest: that may predate a wipe while another does not.
    """

    later: Int[np.ndarray, " k"]
    earlier: Int[np.ndarray, " k"]
    distance: Float64[np.ndarray, " k"]
    length: int
    radius: float

    @classmethod
    def of(cls, features: FeatureArray, radius: float) -> "NearPairs":
        """Search `features` [n, d], in stream order, once."""
        nothing = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
        blocks = [nothing, *near_pairs(features, radius)]
        later, earlier, distance = (np.concatenate(part) for part in zip(*blocks, strict=True))
        return cls(later, earlier, distance, len(features), radius)


def replay_pairs(
    pairs: NearPairs, delta: float, *, count: Count = "queries", flags_to_ban: int = 50
) -> Replay:
    """Judge the stream behind `pairs` as a `SimilarityDetector` would, in time linear in their number.

    `delta` is at most `pairs.radius`. Each ban is followed by a new account.
    """
    if delta > pairs.radius:
        raise RedhandedError(f"delta: {delta} exceeds the radius {pairs.radius} up to which pairs are stored")
    kept = pairs.distance < delta
    later, earlier = pairs.later[kept], pairs.earlier[kept]
    counts = np.zeros(pairs.length, np.int64)
    bans: list[int] = []
    opened = flags = 0
    starts = np.flatnonzero(np.diff(later, prepend=-1))
    for start, stop in pairwise([*starts.tolist(), len(later)]):
        # `earlier` is sorted inside the run: those from `opened` on are in this account's history
        near = (stop - start) - int(np.searchsorted(earlier[start:stop], opened))
        if near == 0:
            continue
        query = int(later[start])
        counts[query] = near if count == "pairs" else 1
        flags += int(counts[query])
        if flags >= flags_to_ban:
            bans.append(query)
            opened, flags = query + 1, 0
    return Replay(counts, np.array(bans, np.int64))


@dataclass(frozen=True)
class Calibration:
    """A threshold and where it came from; rates are per benign query of the stream that tuned it."""

    delta: float
    target: float
    count: Count
    flags_to_ban: int
    length: int
    flags: int
    bans: int
    flag_rate: float
    flag_rate_low: float
    flag_rate_high: float
    fpr: float
    fpr_low: float
    fpr_high: float


def allowed_flags(n: int, *, fpr: float, count: Count, flags_to_ban: int) -> int:
    """Return the flags that a benign stream of `n` may earn; known before anything is trained or embedded.

    Raises `RedhandedError` if the stream cannot tune `fpr`.
    """
    if flags_to_ban < 1:
        raise RedhandedError(f"flags-to-ban: {flags_to_ban} must be at least 1 (the paper uses 50)")
    if not 0 < fpr < 1:
        raise RedhandedError(f"fpr: {fpr} must lie between 0 and 1 (the paper uses 0.0001)")
    needed = int(np.ceil(1 / fpr))
    if n < needed:
        raise RedhandedError(
            f"fpr: {fpr:g} cannot be resolved by {n} benign images, on which one ban is already more; "
            f"give at least {needed:,} images or a larger fpr"
        )
    allowed = int(np.floor(fpr * n * flags_to_ban + 1e-9))
    if allowed >= _most_flags(n, count, flags_to_ban):
        raise RedhandedError(
            f"fpr: {fpr:g} is not exceeded even if every image is flagged; choose a smaller one"
        )
    return allowed


def calibrate_similarity(
    features: FeatureArray, *, fpr: float = FPR, count: Count = "queries", flags_to_ban: int = 50
) -> tuple[Calibration, NearPairs]:
    """Find the largest δ at which a benign stream [n, d] earns at most `fpr` bans per query.

    The rule is on flags, at most `fpr * n * flags_to_ban`: so few cannot make more bans, and they resolve 50
    times finer. Raises `RedhandedError` if the stream is too short to resolve `fpr`, too many of its images
    are equal, or any threshold fulfils `fpr`.
    """
    allowed = allowed_flags(len(features), fpr=fpr, count=count, flags_to_ban=flags_to_ban)
    pairs = _pairs_beyond(features, allowed, count, flags_to_ban)
    return calibrate_pairs(pairs, fpr=fpr, count=count, flags_to_ban=flags_to_ban), pairs


def calibrate_pairs(
    pairs: NearPairs, *, fpr: float = FPR, count: Count = "queries", flags_to_ban: int = 50
) -> Calibration:
    """Find the largest δ for another target from the near pairs of a stream: no search, no encoder.

    Raises `RedhandedError` as `calibrate_similarity`, or if the pairs do not reach as far as needed.
    """
    allowed = allowed_flags(pairs.length, fpr=fpr, count=count, flags_to_ban=flags_to_ban)

    def flags(delta: float) -> int:
        return replay_pairs(pairs, delta, count=count, flags_to_ban=flags_to_ban).flags

    if flags(pairs.radius) <= allowed:
        raise RedhandedError(
            f"fpr: {fpr:g} needs pairs beyond {pairs.radius:.4g}, where the search stopped; calibrate anew"
        )
    steps = np.unique(pairs.distance)
    if flags(float(np.nextafter(steps[0], np.inf))) > allowed:
        raise RedhandedError(
            f"fpr: {fpr:g} is out of reach: too many benign images are as near to each other as the nearest "
            "pair is; remove duplicates from the stream"
        )
    low = last_within(steps, flags, allowed)  # flags(steps[k]) counts the pairs below steps[k]
    # halfway between two distances that occur, so that no rounding can tip a pair over the threshold
    delta = float((steps[low - 1] + steps[low]) / 2) if low else float(steps[0])
    chosen = replay_pairs(pairs, delta, count=count, flags_to_ban=flags_to_ban)
    found = rates(chosen, flags_to_ban)
    return Calibration(delta, fpr, count, flags_to_ban, pairs.length, chosen.flags, len(chosen.bans), **found)


def _most_flags(n: int, count: Count, flags_to_ban: int) -> int:
    """Return the flags of n queries that are all near each other: all but the first of each account."""
    flags = np.cumsum(np.arange(flags_to_ban + 1) if count == "pairs" else np.arange(flags_to_ban + 1) > 0)
    length = int(np.searchsorted(flags, flags_to_ban)) + 1
    accounts, rest = divmod(n, length)
    return int(accounts * flags[length - 1] + (flags[rest - 1] if rest else 0))


def _pairs_beyond(features: FeatureArray, allowed: int, count: Count, flags_to_ban: int) -> NearPairs:
    """Return the pairs within a radius at which the stream earns more flags than allowed."""
    rng = np.random.default_rng(0)
    sample = np.sort(rng.choice(len(features), min(len(features), 512), replace=False))
    closest: list[float] = []
    squares = np.square(features).sum(axis=1)
    for rows in np.array_split(sample[sample > 0], max(1, len(sample) // 64)):
        # a matrix product is exact enough for where to begin
        squared = squares[rows, None] + squares - 2 * features[rows] @ features.T
        squared[np.arange(len(features)) >= rows[:, None]] = np.inf
        closest += np.sqrt(squared.min(axis=1).clip(min=0)).tolist()
    # twice the rate allowed, so that the bisection has room on both sides
    radius = float(np.quantile(closest, min(1.0, 2 * allowed / len(features))))
    radius = max(radius, float(np.finfo(np.float32).tiny))
    smallest = min((c for c in closest if c > 0), default=radius)
    for _ in range(64):
        pairs = NearPairs.of(features, radius)
        if replay_pairs(pairs, radius, count=count, flags_to_ban=flags_to_ban).flags > allowed:
            return pairs
        radius = max(1.5 * radius, smallest)
    raise RedhandedError("features: benign images lie too far from each other; check the encoder")
