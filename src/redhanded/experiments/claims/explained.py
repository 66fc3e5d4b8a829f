"""Why claims fail in worlds that are not the paper's, so that a failure which nobody knows of stands out.

A reason names causes; figures stand beside it, read from the records, so it has none of its own. It changes
no verdict: what it explains fails, and is shown and counted as failing. It is about the committed records.
docs/decisions.md has more, and docs/reproduction.md the small world's figures.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from redhanded.experiments.claims.base import RULINGS, Claim, Judgement
from redhanded.experiments.claims.reader import Reader

_COPIES = "copies of few digits teach much, as clones are far below the victim"
_VAE = "a small VQ-VAE of few updates bans honest users as often as thieves"
_ORDER = "JB-top3 sends a source's variants in a row, the two many sources at a time by target"
_DEMO = {
    "cw-bs-below-baseline-few": _COPIES,
    "gain-few": _COPIES,
    "gain-many": _COPIES,
    "likeness-ranks-few": "grey digits teach as much, or more",
    "low-quality-jba-wins": "fresh crops of the two photographs teach more than copies of the seeds",
    "cw-bs-more-than-top3": _ORDER,
    "fpr-held": "photographs are crops of the same two, many near-duplicates; grey digits exceed it, too",
    "noise-and-colour-raise": "all but uniform noise evade on pixels, and that does next to nothing",
    "scale-best-blinding": "translation and the auto-encoder pay less than scaling, at no cost",
    "auto-encoder-costs": "digits are read through its noise",
    "contrast-costs": "on pixels it costs little",
    "likelihood-outperforms": _VAE,
    "likelihood-either-or": _VAE,
}

_LITTLE = "copies teach little to a surrogate that starts from random weights"
_UPDATES = "the VQ-VAE learns for a fraction of the original's updates"
_BLIND = "tuned on CIFAR-10 and its like it bans hardly anybody, JB-top3 or honest user"
_SMALL = {
    "pgd-best-few": "PGD's clone learns nothing from what it crafts; binary search's is of its seeds alone",
    "cw-stays-on-victim": "few cross in the first round, more in those that follow",
    "many-seeds-cross-more": "few seeds craft more rounds than many, and later rounds cross more",
    "dfme-ends-far-above-chance": "the paper's is at chance, too, after about as many queries",
    "pgd-beats-seeds-many": _LITTLE,
    "gain-by-set": _LITTLE,
    "likeness-ranks-few": "one seed a set, and clones of CIFAR-10's few seeds vary as much as the sets do",
    "low-quality-jba-wins": "the rest of SVHN's images teach more than copies of the seeds do",
    "cw-bs-more-than-top3": _ORDER,
    "fpr-held": "δ was tuned on CIFAR-10's training images; other sets are a little above or below",
    "noise-and-colour-raise": "on pixels they lower the price; most raise it in the released reading",
    "contrast-costs": "on pixels contrast costs nothing; in the released reading it does",
    "likelihood-outperforms": _UPDATES,
    "likelihood-false-alarms": _BLIND,
    "likelihood-either-or": _BLIND,
}

EXPLAINED: Mapping[str, Mapping[str, str]] = {"demo": _DEMO, "small": _SMALL, "paper": {}}
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
    judgements = [(claim, claim.judge_by(read)) for claim in claims]
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
