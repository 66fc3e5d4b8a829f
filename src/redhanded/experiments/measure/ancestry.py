"""The ancestry ceiling: what a detector that knows each query's family would make of a stream."""

import numpy as np

from redhanded.detectors.intervals import Replay
from redhanded.types import Int


def families(parents: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Return the place of the seed that each query descends from; a parent always comes before its child."""
    root = np.arange(len(parents))
    for place, parent in enumerate(parents.tolist()):
        if parent >= 0:
            root[place] = root[parent]
    return root


def ancestry_ceiling(parents: Int[np.ndarray, " n"], flags_to_ban: int = 50) -> Replay:
    """Flag exactly the queries with kin (a common seed) in the account's history; a ban wipes it.

    Source: the ceiling that similarity detection strives for; the paper's orders alone decide it (663 bans
    for 50,000 queries of 5,000 seeds sent source by source, 322 in batches of 64, 9 target by target).
    """
    root = families(parents)
    counts = np.zeros(len(root), np.int64)
    bans: list[int] = []
    seen: set[int] = set()
    flags = 0
    for place, family in enumerate(root.tolist()):
        counts[place] = family in seen
        flags += family in seen
        seen.add(family)
        if flags >= flags_to_ban:
            bans.append(place)
            seen.clear()
            flags = 0
    return Replay(counts, np.array(bans, np.int64))
