"""The paper's claims, each judged in a world by the records there are."""

from redhanded.experiments.claims import (
    adaptive,
    attacks,
    confidence,
    crossing,
    data_free,
    likelihood,
    query_sets,
    similarity,
)
from redhanded.experiments.claims.base import RULINGS, Claim, Judgement, Ruling
from redhanded.experiments.claims.explained import EXPLAINED, Assessment, judge, summary
from redhanded.experiments.claims.reader import Reader

__all__ = [
    "CLAIMS",
    "EXPLAINED",
    "RULINGS",
    "Assessment",
    "Claim",
    "Judgement",
    "Reader",
    "Ruling",
    "judge",
    "summary",
]

CLAIMS: tuple[Claim, ...] = (
    *attacks.CLAIMS,
    *crossing.CLAIMS,
    *confidence.CLAIMS,
    *query_sets.CLAIMS,
    *similarity.CLAIMS,
    *adaptive.CLAIMS,
    *data_free.CLAIMS,
    *likelihood.CLAIMS,
)
"""In the order in which the paper makes them."""
