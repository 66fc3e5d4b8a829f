"""Why claims fail in worlds that are not the paper's, so that a failure which nobody knows of stands out.

An explanation changes no verdict: what it explains fails, and is shown and counted as failing. The figures
behind these sentences are in docs/reproduction.md and docs/decisions.md.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from redhanded.experiments.claims.base import RULINGS, Claim, Verdict

_FAR = "clones reach a quarter to a half of a victim's 90%: copies teach much, and no attack stands out"
_PIXELS = "on pixels each of these is an evasion: three epochs of contrast taught the encoder little"
_FEW_FLAGS = "of 1,000 queries 600 are crafted: filtering and the auto-encoder pay about an account or none"
_DEMO = {
    "pgd-best-few": _FAR,
    "cw-bs-below-baseline-few": _FAR,
    "gain-few": _FAR,
    "gain-many": _FAR,
    "many-seeds-cross-more": "hardly anything crosses on the victim, with few seeds or many",
    "cw-overfits-more": "both clones know their transfer sets by heart",
    "likeness-ranks-few": "the victim's digits and grey ones are within the spread of seeds",
    "bottom-set-lowest": "with few seeds a clone learns no more from other digits than from photographs",
    "low-quality-jba-wins": "what is crafted from photographs of the same two scenes is them again",
    "cw-bs-more-than-top3": "JB-top3 sends a source's variants one after the other, the two 64 sources at a "
    "time; and what CW fails at is left out, not sent as black images",
    "other-sets-dearer": "digits of every kind cost the same within an account; only photographs are dearer",
    "fpr-held": "photographs without digits are crops of the same two: many are near-duplicates",
    "filtering-best-x": _FEW_FLAGS,
    "filtering-best-xi": _FEW_FLAGS,
    "filtering-best-xii": _FEW_FLAGS,
    "robust-x": _FEW_FLAGS,
    "robust-xi": _FEW_FLAGS,
    "robust-xii": _FEW_FLAGS,
    "noise-and-colour-raise": _PIXELS,
    "scale-best-blinding": _PIXELS,
    "auto-encoder-costs": "digits are read through its noise",
    "contrast-costs": "on pixels contrast costs nothing",
    "likelihood-outperforms": "1,200 updates of a small VQ-VAE: it bans honest users as often as thieves",
    "likelihood-either-or": "1,200 updates of a small VQ-VAE: it bans honest users as often as thieves",
}

_NEAR_CHANCE = "the first surrogates, of random weights and few seeds, are close to chance"
_BY_HEART = "surrogates of random weights learn their transfer sets by heart; the paper's start trained"
_TRANSLATION = "translation pays as few accounts, within two bans, and costs no accuracy"
_UPDATES = "1,500 updates of the VQ-VAE, where the original has 15,000 and more"
_BLIND = "tuned with its spread on all benign sets it bans hardly anybody, thief or honest"
_SMALL = {
    "pgd-best-few": _NEAR_CHANCE,
    "pgd-crosses-most": _NEAR_CHANCE,
    "cw-stays-on-victim": _NEAR_CHANCE,
    "many-seeds-cross-more": "with few seeds binary search crafts nothing, and the others cross more",
    "dfme-ends-far-above-chance": "60,000 queries, and the paper itself has chance at 50,000",
    "cw-overfits-more": _BY_HEART,
    "pgd-beats-seeds-few": _BY_HEART,
    "pgd-beats-seeds-many": _BY_HEART,
    "gain-by-set": _BY_HEART,
    "likeness-ranks-few": "clones of 25 seeds are near chance, whatever the set",
    "low-quality-jba-wins": "the archive of SVHN has 1,083 images, and random sampling takes all of them",
    "cw-bs-more-than-top3": _DEMO["cw-bs-more-than-top3"],
    "other-sets-dearer": "the encoder flags nobody of SVHN, by far the dearest in the paper",
    "fpr-held": "δ was tuned on CIFAR-10's training images; other sets are a little above or below",
    "filtering-best-x": _TRANSLATION,
    "filtering-best-xi": _TRANSLATION,
    "filtering-best-xii": _TRANSLATION,
    "filtering-fifth": "the substitute detector learnt from 500 images, the paper's from 5,000",
    "scale-best-blinding": "translation and brightness cost no accuracy either, and pay fewer accounts",
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
class Outcome:
    """A claim, its verdict in a world, and why it fails there, as far as that is known."""

    claim: Claim
    verdict: Verdict
    why: str = ""

    @property
    def unexplained(self) -> bool:
        """Whether it fails and nobody has said why."""
        return self.verdict.ruling == "fails" and not self.why


def explain(world: str, judged: Iterable[tuple[Claim, Verdict]]) -> tuple[Outcome, ...]:
    """Set beside each claim that fails what is known of it in the world of this name."""
    known = EXPLAINED.get(world, {})
    return tuple(
        Outcome(claim, verdict, known.get(claim.name, "") if verdict.ruling == "fails" else "")
        for claim, verdict in judged
    )


def summary(outcomes: Sequence[Outcome]) -> str:
    """Count the verdicts on one line, and name the failures that nobody has explained."""
    counts = Counter(outcome.verdict.ruling for outcome in outcomes)
    counted = f"{len(outcomes)} claims: " + ", ".join(f"{counts[ruling]} {ruling}" for ruling in RULINGS)
    unexplained = [outcome.claim.name for outcome in outcomes if outcome.unexplained]
    if unexplained:
        return f"{counted}; not explained: {', '.join(unexplained)}"
    return f"{counted}; every failure is explained" if counts["fails"] else counted
