"""What detectors that judge a statistic share: an alarm below a threshold, and the ban that follows."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from redhanded.detectors.base import Verdict
from redhanded.errors import RedhandedError


class Judged(NamedTuple):
    """One query, remembered: its statistic, and the earlier query that it is nearest to."""

    score: float
    """Lower is more suspicious; inf where there is nothing to test yet."""
    nearest: int = -1
    """Place in the log; -1 where the statistic is of no single earlier query."""


@runtime_checkable
class Counted(Protocol):
    """A memory that counts alarms."""

    flags: int
    banned: bool


def check_threshold(threshold: float, flags_to_ban: int) -> None:
    """Reject settings that could never judge; -inf, which never alarms, is what calibration begins with."""
    if np.isnan(threshold):
        raise RedhandedError("threshold: it is not a number; calibrate the detector")
    if flags_to_ban < 1:
        raise RedhandedError(f"flags_to_ban: {flags_to_ban} must be at least 1")


def judge(
    memory: Counted,
    queries: Iterable[Judged],
    threshold: float,
    flags_to_ban: int = 1,
    *,
    lasts: bool = False,
) -> Verdict:
    """Alarm at every statistic below `threshold` (strict); `flags_to_ban` alarms close the account.

    `queries` remembers each query as it is drawn, so nothing after a ban is remembered. A memory that `lasts`
    (scope "global") begins to count anew after a ban instead of being closed.
    """
    scores: list[float] = []
    nearest: list[int] = []
    banned_at = None
    for place, query in enumerate(() if memory.banned else queries):
        scores.append(query.score)
        nearest.append(query.nearest)
        memory.flags += query.score < threshold
        if memory.flags >= flags_to_ban:
            banned_at = place
            if lasts:
                memory.flags = 0
            else:
                memory.banned = True
            break
    statistic = np.array(scores, np.float64)
    return Verdict(
        (statistic < threshold).astype(np.int64), statistic, np.array(nearest, np.int64), banned_at
    )
