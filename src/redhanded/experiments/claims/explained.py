"""Why claims fail in worlds that are not the paper's, so that a failure which nobody knows of stands out.

An explanation changes no verdict: what it explains fails, and is shown and counted as failing. It is about
the committed records. docs/decisions.md has more, and docs/reproduction.md the small world's figures.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from redhanded.experiments.claims.base import RULINGS, Claim, Verdict
from redhanded.experiments.claims.reader import Reader

_COPIES = "copies of few digits teach much: clones are far below the victim, 14 to 50% of its 90%"
_FEW_FLAGS = "of 1,000 queries 600 are crafted: filtering and the auto-encoder pay about an account or none"
_VAE = "1,200 updates of a small VQ-VAE: it bans honest users as often as thieves"
_ORDER = "JB-top3 sends a source's variants in a row, the two 64 sources at a time by target"
_DEMO = {
    "pgd-best-few": "JB-top3's clone is as good as PGD's: less than a point apart, of one seed each",
    "cw-bs-below-baseline-few": _COPIES,
    "gain-few": _COPIES,
    "gain-many": _COPIES,
    "many-seeds-cross-more": "hardly anything crosses on the victim, with few seeds or many",
    "cw-overfits-more": "both clones know their transfer sets by heart",
    "likeness-ranks-few": "grey digits teach as much, 1.4 points more, of one seed",
    "bottom-set-lowest": "clones of 100 photographs or other digits are near chance: 10 to 16%",
    "low-quality-jba-wins": "fresh crops of the two photographs teach more than copies of 400 of them",
    "cw-bs-more-than-top3": _ORDER,
    "other-sets-dearer": "digits of every kind cost the same within an account; only photographs are dearer",
    "fpr-held": "photographs are crops of the same two, many near-duplicates; grey digits exceed it, too",
    "filtering-best-x": _FEW_FLAGS,
    "filtering-best-xi": _FEW_FLAGS,
    "filtering-best-xii": _FEW_FLAGS,
    "robust-x": _FEW_FLAGS,
    "robust-xi": _FEW_FLAGS,
    "robust-xii": _FEW_FLAGS,
    "noise-and-colour-raise": "all but uniform noise evade on pixels, and that does next to nothing",
    "scale-best-blinding": "translation and the auto-encoder pay less than scaling, at no cost",
    "auto-encoder-costs": "digits are read through its noise",
    "contrast-costs": "on pixels it costs less than two points",
    "likelihood-outperforms": _VAE,
    "likelihood-either-or": _VAE,
}

_LITTLE = "copies teach little: the better JBA adds 2.7 points (few seeds) or 0.5 (many) on average"
_TRANSLATION = "translation pays as few accounts, within two bans, at as good an accuracy"
_UPDATES = "1,500 updates of the VQ-VAE, where the original has 15,000 and more"
_BLIND = "tuned on CIFAR-10 and its like it bans hardly anybody, JB-top3 or honest user"
_SMALL = {
    "pgd-best-few": "PGD's clone learns nothing after 100 queries; binary search's is of its seeds alone",
    "pgd-crosses-most": "in one round of four CW crosses with one image more (28 and 27 of 300)",
    "cw-stays-on-victim": "1.3% cross in the first round, 8 to 14% in those that follow",
    "many-seeds-cross-more": "few seeds craft four rounds, many two, and later rounds cross more",
    "dfme-ends-far-above-chance": "60,000 queries, and the paper itself has chance at 50,000",
    "cw-overfits-more": "one seed of each; PGD's clones of two further seeds fit theirs to 94 and 95%",
    "pgd-beats-seeds-few": _LITTLE,
    "pgd-beats-seeds-many": _LITTLE,
    "gain-by-set": _LITTLE,
    "likeness-ranks-few": "one seed a set, and clones of three CIFAR-10 seeds range from 20.5 to 22.8%",
    "low-quality-jba-wins": "833 more images of SVHN add 1.7 points to 250, copies of these less",
    "cw-bs-more-than-top3": _ORDER,
    "other-sets-dearer": "SVHN, by far the dearest in the paper, is among the cheapest",
    "fpr-held": "δ was tuned on CIFAR-10's training images; other sets are a little above or below",
    "filtering-best-x": _TRANSLATION,
    "filtering-best-xi": _TRANSLATION,
    "filtering-best-xii": _TRANSLATION,
    "filtering-fifth": "the substitute detector learnt from 500 images, the paper's from 5,000",
    "scale-best-blinding": "translation pays less at no cost, and brightness as little",
    "noise-and-colour-raise": "on pixels they lower the price; three raise it in the released reading",
    "contrast-costs": "on pixels contrast costs nothing; in the released reading it does",
    "likelihood-falls": _UPDATES,
    "likelihood-outperforms": _UPDATES,
    "likelihood-false-alarms": _BLIND,
    "likelihood-either-or": _BLIND,
}

EXPLAINED: Mapping[str, Mapping[str, str]] = {"demo": _DEMO, "small": _SMALL, "paper": {}}
"""By world and claim."""


@dataclass(frozen=True)
class Judged:
    """A claim, its verdict in a world, and why it fails there, as far as that is known."""

    claim: Claim
    verdict: Verdict
    why: str = ""

    @property
    def unexplained(self) -> bool:
        """Whether it fails and nobody has said why."""
        return self.verdict.ruling == "fails" and not self.why


def judge(claims: Iterable[Claim], read: Reader) -> tuple[Judged, ...]:
    """Put claims to the test with what a reader finds, and set beside each that fails what is known of it."""
    known = EXPLAINED.get(read.world.name, {})
    verdicts = [(claim, claim.judge_by(read)) for claim in claims]
    return tuple(
        Judged(claim, verdict, known.get(claim.name, "") if verdict.ruling == "fails" else "")
        for claim, verdict in verdicts
    )


def summary(judged: Sequence[Judged]) -> str:
    """Count the verdicts on one line, and name the failures that nobody has explained."""
    counts = Counter(one.verdict.ruling for one in judged)
    counted = f"{len(judged)} claims: " + ", ".join(f"{counts[ruling]} {ruling}" for ruling in RULINGS)
    unexplained = [one.claim.name for one in judged if one.unexplained]
    if unexplained:
        return f"{counted}; not explained: {', '.join(unexplained)}"
    return f"{counted}; every failure is explained" if counts["fails"] else counted
