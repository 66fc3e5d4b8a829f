"""The paper's claims over the demo world's committed records: what holds, and what is known not to."""

from pathlib import Path

import pytest

from redhanded.experiments.claims import CLAIMS, Claim, Reader
from redhanded.experiments.store import Store
from redhanded.experiments.worlds import demo

RESULTS = Path(__file__).parents[2] / "results" / "demo"
READ = Reader(demo(), Store(RESULTS, RESULTS).record)
FAR = "clones reach a quarter to a half of a victim's 90%: copies teach much, and no attack stands out"
WEAK_ENCODER = "on pixels each of these is an evasion: three epochs of contrast taught the encoder little"
FEW_FLAGS = "1,000 queries, of which 600 are crafted: 38 flags where 50 close an account"
KNOWN_FAILURES = {
    "pgd-best-few": FAR,
    "cw-bs-below-baseline-few": FAR,
    "gain-few": FAR,
    "gain-many": FAR,
    "marginal-effect": FAR,
    "many-seeds-cross-more": "2.4% and 1.8% cross on the victim: hardly any",
    "cw-overfits-more": "both clones know their transfer sets by heart",
    "likeness-ranks-few": "the victim's digits and grey ones are within the spread of seeds",
    "bottom-set-lowest": "from other digits a clone learns no more than from photographs, with few seeds",
    "low-quality-jba-wins": "what is crafted from photographs of the same two scenes is them again",
    "cw-bs-more-than-top3": "JB-top3 sends a source's variants one after the other, the two 64 sources at a "
    "time; and what CW fails at is left out, not sent as black images",
    "fpr-held": "photographs without digits are crops of the same two: many are near-duplicates",
    "filtering-best-x": FEW_FLAGS,
    "filtering-best-xi": FEW_FLAGS,
    "filtering-best-xii": FEW_FLAGS,
    "robust-x": FEW_FLAGS,
    "robust-xi": FEW_FLAGS,
    "robust-xii": FEW_FLAGS,
    "noise-and-colour-raise": WEAK_ENCODER,
    "scale-best-blinding": WEAK_ENCODER,
    "auto-encoder-costs": "digits are read through its noise",
    "contrast-costs": "on pixels contrast costs nothing",
    "likelihood-outperforms": "1,200 updates of a small VQ-VAE: it bans honest users as often as thieves",
    "likelihood-either-or": "as above",
}
"""Exact: a claim of these that holds must leave the table."""


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_claims_hold_but_for_the_known_ones(claim: Claim) -> None:
    verdict = claim.judge_by(READ)
    if verdict.ruling in {"holds", "fails"}:
        expected = "fails" if claim.name in KNOWN_FAILURES else "holds"
        assert verdict.ruling == expected, verdict.figures
    else:
        assert claim.name not in KNOWN_FAILURES, verdict.figures


def test_known_failures_are_claims() -> None:
    assert KNOWN_FAILURES.keys() <= {claim.name for claim in CLAIMS}
