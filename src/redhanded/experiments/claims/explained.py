"""Why claims fail in worlds that are not the paper's, so that a failure which nobody knows of stands out.

A reason names causes; figures stand beside it, read from the records, so it has none of its own. It changes
no verdict: what it explains fails, and is shown and counted as failing. It is about the committed records.
docs/decisions.md has more, and docs/reproduction.md the small world's figures.
"""

import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

from redhanded.experiments.claims.base import RULINGS, Claim, Judgement
from redhanded.experiments.claims.reader import Reader

_STATED = resources.files("redhanded.experiments.claims").joinpath("explained.toml")
EXPLAINED: Mapping[str, Mapping[str, str]] = {
    world: {claim: why for why, claims in reasons.items() for claim in claims}
    for world, reasons in tomllib.loads(_STATED.read_text(encoding="utf-8")).items()
}
"""By world and claim."""


@dataclass(frozen=True)
class Assessment:
    """A claim, its verdict in a world, and why it fails there, as far as that is known."""

    claim: Claim
    judgement: Judgement
    why: str = ""

    @property
    def unexplained(self) -> bool:
        """Whether it fails and nobody has said why."""
        return self.judgement.ruling == "fails" and not self.why


def judge(claims: Iterable[Claim], read: Reader) -> tuple[Assessment, ...]:
    """Put claims to the test with what a reader finds, and set beside each that fails what is known of it."""
    known = EXPLAINED.get(read.world.name, {})
    judgements = [(claim, claim.judge(read)) for claim in claims]
    return tuple(
        Assessment(claim, judgement, known.get(claim.name, "") if judgement.ruling == "fails" else "")
        for claim, judgement in judgements
    )


def summary(judged: Sequence[Assessment]) -> str:
    """Count the verdicts on one line, and name the failures that nobody has explained."""
    counts = Counter(one.judgement.ruling for one in judged)
    counted = f"{len(judged)} claims: " + ", ".join(f"{counts[ruling]} {ruling}" for ruling in RULINGS)
    unexplained = [one.claim.name for one in judged if one.unexplained]
    if unexplained:
        return f"{counted}; not explained: {', '.join(unexplained)}"
    return f"{counted}; every failure is explained" if counts["fails"] else counted
