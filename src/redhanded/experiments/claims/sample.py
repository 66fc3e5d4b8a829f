"""Figures to compare: what was measured over seeds, and how a difference is told from its spread."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import mean

POINT = 0.01
"""The paper's accuracies vary within one point (§IV-A2): what differs by no more does not differ."""
KEPT = 0.03
"""Accuracy that an adaptation may lose and still keep it: the 2 points of Table XII's, and the one above."""
NEAR_FLOOR = 2.0
"""Bans above the benign floor that may be chance."""
ROUNDING = 1e-9


Answer = bool | None
"""Whether something is so; None where the figures cannot tell."""


def every(answers: Iterable[Answer]) -> Answer:
    """Whether all are so: one that is not decides, and then one that cannot be told."""
    given = set(answers)
    return False if False in given else None if None in given else True


def if_so(premise: Answer, answer: Answer) -> Answer:
    """Return the answer where its premise is given; what the premise spares is so."""
    spared = None if premise is None else not premise
    return True if spared or answer else None if spared is None or answer is None else False


@dataclass(frozen=True)
class Sample:
    """One figure as measured: its mean over seeds, and how far they range."""

    mean: float
    range: float = 0.0
    """The largest less the smallest; one seed alone has none."""
    count: int = 1

    @classmethod
    def of(cls, values: Sequence[float]) -> "Sample":
        """Return what a value a seed comes to."""
        return cls(mean(values), max(values) - min(values), len(values))

    def times(self, factor: float) -> "Sample":
        return Sample(factor * self.mean, factor * self.range, self.count)

    @property
    def seeds(self) -> str:
        """How many seeds there are, in words."""
        return "1 seed" if self.count == 1 else f"{self.count} seeds"


def together(samples: Sequence[Sample]) -> Sample:
    """Return the mean of several figures; on average it varies by no more than they do."""
    return Sample(mean(one.mean for one in samples), mean(one.range for one in samples))


@dataclass(frozen=True)
class Pair:
    """Two figures to compare: the one place where a difference is told from its spread.

    A difference is told if what it is held against lies farther away than the spread: the larger of the two
    ranges over seeds, and at least `least`, since one seed alone has no range and three have a small one by
    luck. For accuracies and other shares that is the paper's own point, for bans the two that may be chance.
    """

    one: Sample
    other: Sample
    least: float = POINT

    @property
    def gain(self) -> float:
        """By how much the first exceeds the second."""
        return self.one.mean - self.other.mean

    @property
    def spread(self) -> float:
        """By how much the two may differ by luck."""
        return max(self.least, self.one.range, self.other.range)

    @property
    def turned(self) -> "Pair":
        return Pair(self.other, self.one, self.least)

    @property
    def difference(self) -> Sample:
        """The gain as a figure, which varies as the two do."""
        return Sample(self.gain, max(self.one.range, self.other.range), min(self.one.count, self.other.count))

    @property
    def doubt(self) -> str:
        """Say that the two differ by no more than their spread."""
        return " (within the spread)" if within(self.gain, 0.0, self.spread) else ""

    def beats(self, by: float = 0.0) -> Answer:
        """Whether the first exceeds the second by more than `by`; neither, within the spread of it."""
        return None if within(self.gain, by, self.spread) else exceeds(self.gain, by)

    def trails(self, by: float = 0.0) -> Answer:
        """Whether the second exceeds the first by more than `by`."""
        return self.turned.beats(by)

    def written(self, one: str, other: str, write: "Callable[[Sample], str]") -> str:
        return f"{one} {write(self.one)}, {other} {write(self.other)} of {self.one.seeds}{self.doubt}"

    def keeps(self, by: float = 0.0) -> Answer:
        """Whether the first falls at most `by` below the second.

        The tolerance is the claim's: what stays within it is so. A breach must exceed the spread, too.
        """
        return not exceeds(-self.gain, by) or (None if within(-self.gain, by, self.spread) else False)


def exceeds(more: float, less: float, by: float = 0.0) -> bool:
    """Whether one figure lies more than `by` above another, whatever binary fractions make of it."""
    return more - less > by + ROUNDING


def within(one: float, other: float, by: float) -> bool:
    """Whether two figures differ by no more than `by`."""
    return abs(one - other) <= by + ROUNDING


def percent(share: float | Sample) -> str:
    return f"{share.mean if isinstance(share, Sample) else share:.1%}"


def points(difference: float) -> str:
    return f"{100 * difference:+.1f}"


def bans(price: float | Sample) -> str:
    count = price.mean if isinstance(price, Sample) else price
    return f"{count:,.0f}" if count >= 100 else f"{count:.3g}"


def listed(parts: Iterable[str]) -> str:
    return ", ".join(parts)
