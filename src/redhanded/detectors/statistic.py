"""What detectors that judge one query after the other share: alarms, the ban that follows, and memories."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from typing import ClassVar, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np

from redhanded.detectors.base import Arrays, Detector, Memory, Scope, Verdict
from redhanded.types import FeatureArray, Float32, OutputArray


class Evidence(NamedTuple):
    """What one query, remembered, says against its account: its statistic, and its nearest earlier query."""

    score: float
    """Lower is more suspicious; inf where there is nothing to test yet."""
    nearest: int = -1
    """Place in the log; -1 where the statistic is of no single earlier query."""
    weight: int = 1
    """What an alarm adds to the flags."""


@runtime_checkable
class Tally(Memory, Protocol):
    flags: int


T = TypeVar("T", bound=Tally)
NUMBERS: Mapping[str, tuple[tuple[type, ...], type[np.generic]]] = {
    "state": ((int, np.integer), np.int64),
    "sums": ((float,), np.float64),
}
"""The fields of a memory, by their types, that an array of a dump holds in their order."""


class CountingDetector(Detector[T]):
    """A detector that closes an account, or a sender, whose flags reach `flags_to_ban`.

    A dump of its memories, dataclasses, holds their integers as `state` int64 [k], their floats, if any, as
    `sums` float64 [k], and `arrays`.
    """

    flags_to_ban: int
    needs_outputs = False
    scope: ClassVar[Scope] = "account"

    def arrays(self, memory: T) -> Arrays:
        """Return the arrays of a memory, which may be views."""
        del memory
        return {}

    def refill(self, memory: T, state: Mapping[str, np.ndarray]) -> None:
        """Put arrays that were dumped into a new memory, as copies."""

    def dump(self, memory: T) -> Arrays:
        found = {name: array.copy() for name, array in self.arrays(memory).items()}
        for name, (types, dtype) in NUMBERS.items():
            values = [getattr(memory, field) for field in _named(memory, types)]
            found |= {name: np.array(values, dtype)} if values else {}
        return found

    def restore(self, state: Mapping[str, np.ndarray]) -> T:
        memory = self.new_memory()
        self.refill(memory, state)
        for name, (types, _) in NUMBERS.items():
            numbers = state.get(name, np.empty(0)).tolist()
            for field, value in zip(_named(memory, types), numbers, strict=True):
                setattr(memory, field, type(getattr(memory, field))(value))
        return memory


def _named(memory: Tally, types: tuple[type, ...]) -> list[str]:
    return [field.name for field in fields(memory) if isinstance(getattr(memory, field.name), types)]  # type: ignore[arg-type]


class StatisticDetector(CountingDetector[T]):
    """Alarms at every statistic below `threshold` (strict)."""

    threshold: float

    def weigh(self, memory: T, row: Float32[np.ndarray, " d"]) -> Evidence:
        """Remember one query and return what it says, where that takes neither answers nor other queries."""
        raise NotImplementedError

    def evidence(self, memory: T, features: FeatureArray, outputs: OutputArray | None) -> Iterator[Evidence]:
        """Yield what each query says, remembering it as it is drawn."""
        del outputs
        return (self.weigh(memory, row) for row in features)

    def update(self, memory: T, features: FeatureArray, outputs: OutputArray | None = None) -> Verdict:
        queries = self.evidence(memory, features, outputs)
        return judge(memory, queries, self.threshold, self.flags_to_ban, lasts=self.scope == "global")


def judge(
    memory: Tally, queries: Iterable[Evidence], threshold: float, flags_to_ban: int, *, lasts: bool = False
) -> Verdict:
    """Alarm at every statistic below `threshold` (strict); `flags_to_ban` flags close the account.

    Drawing from `queries` remembers them, so nothing after a ban is remembered. A memory that `lasts` (scope
    "global") counts anew after a ban.
    """
    judged: list[Evidence] = []
    counts: list[int] = []
    banned_at = None
    for place, query in enumerate(() if memory.banned else queries):
        judged.append(query)
        counts.append(query.weight if query.score < threshold else 0)
        memory.flags += counts[-1]
        if memory.flags >= flags_to_ban:
            banned_at = place
            if lasts:
                memory.flags = 0
            else:
                memory.banned = True
            break
    return Verdict(
        np.array(counts, np.int64),
        np.array([query.score for query in judged], np.float64),
        np.array([query.nearest for query in judged], np.int64),
        banned_at,
    )
