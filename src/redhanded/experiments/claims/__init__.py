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
from redhanded.experiments.claims.base import Claim

SECTIONS = (attacks, crossing, confidence, query_sets, similarity, adaptive, data_free, likelihood)
CLAIMS: tuple[Claim, ...] = tuple(claim for section in SECTIONS for claim in section.CLAIMS)
"""In the order in which the paper makes them."""
