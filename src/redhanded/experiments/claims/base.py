"""What a claim is: a sentence of the paper as a predicate over records, judged in one world."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from redhanded.experiments.claims.reader import Answer, NotMeasuredError, Reader
from redhanded.experiments.tables import Look
from redhanded.experiments.worlds.world import World

Ruling = Literal["holds", "fails", "cannot be told", "not measured", "cannot be judged"]
RULINGS: tuple[Ruling, ...] = ("holds", "fails", "cannot be told", "not measured", "cannot be judged")

Finding = tuple[Answer, str]
"""Whether a claim holds, and the figures that decide it, on one line."""


@dataclass(frozen=True)
class Judgement:
    """What became of a claim in a world."""

    ruling: Ruling
    figures: str
    """What decides; what is missing; or why it cannot be judged there."""


def anywhere(world: World) -> str:  # noqa: ARG001 - nothing depends on the world
    """The premise of a claim that every world can put to the test."""
    return ""


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper that records can confirm or refute."""

    name: str
    sentence: str
    """In words of ours, with its tolerance."""
    source: str
    """The section, table or figure that makes it."""
    test: Callable[[Reader], Finding]
    premise: Callable[[World], str] = anywhere
    """Returns why a world cannot put it to the test, or nothing. It sees no record, so that no claim is
    passed over because it would fail."""

    def judge(self, world: World, look: Look) -> Judgement:
        """Put the claim to the test with the records there are."""
        return self.judge_by(Reader(world, look))

    def judge_by(self, read: Reader) -> Judgement:
        """Put the claim to the test with what a reader finds; claims may share it."""
        lacking = self.premise(read.world)
        if lacking:
            return Judgement("cannot be judged", lacking)
        try:
            answer, figures = self.test(read)
        except NotMeasuredError as missing:
            return Judgement("not measured", str(missing))
        return Judgement("cannot be told" if answer is None else "holds" if answer else "fails", figures)
