"""What a claim is: a sentence of the paper as a predicate over records, judged in one world."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

from redhanded.experiments.claims.reader import NotMeasuredError, Reader
from redhanded.experiments.claims.sample import Answer
from redhanded.experiments.worlds.world import World

Ruling = Literal["holds", "fails", "cannot be told", "not measured", "cannot be judged"]
RULINGS: tuple[Ruling, ...] = ("holds", "fails", "cannot be told", "not measured", "cannot be judged")

Finding = tuple[Answer, str]
"""Whether a claim holds, and the figures that decide it, on one line."""


@dataclass(frozen=True)
class Judgement:
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

    def judge(self, read: Reader) -> Judgement:
        """Put the claim to the test with what a reader finds; claims may share it."""
        lacking = self.premise(read.world)
        if lacking:
            return Judgement("cannot be judged", lacking)
        try:
            answer, figures = self.test(read)
        except NotMeasuredError as missing:
            return Judgement("not measured", str(missing))
        return Judgement("cannot be told" if answer is None else "holds" if answer else "fails", figures)


Test = Callable[..., Finding]


class Claims(list[Claim]):
    """A section's claims in the paper's order, each a function whose docstring is the sentence."""

    def add(
        self,
        name: str,
        source: str,
        premise: Callable[..., str] = anywhere,
        tables: Mapping[str, str] | None = None,
    ) -> Callable[[Test], Test]:
        """Add the decorated test; with `tables`, once for each, of which test and premise are told.

        `{table}`, `{TABLE}` and `{of}` in name, source and sentence are a table and what `tables` says of it.
        """

        def register(test: Test) -> Test:
            sentence = " ".join((test.__doc__ or "").split())
            if tables is None:
                self.append(Claim(name, sentence, source, test, premise))
            for table, of in (tables or {}).items():
                put = partial(str.format, table=table, TABLE=table.upper(), of=of)
                told = premise if premise is anywhere else partial(premise, table=table)
                self.append(Claim(put(name), put(sentence), put(source), partial(test, table=table), told))
            return test

        return register
