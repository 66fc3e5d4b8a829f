"""Figures 2 and 3: do queries cross decision boundaries (§IV-B2)?"""

from collections.abc import Iterable
from statistics import mean
from typing import Literal

from redhanded.experiments.claims.attacks import JBAS
from redhanded.experiments.claims.base import Claim, Found
from redhanded.experiments.claims.reader import NotMeasuredError, Reader, exceeds, listed, percent
from redhanded.experiments.tables.extraction import JBA_BS, JBA_CW, JBA_PGD

FEW, MANY = "i", "ii"
"""The tables whose thefts start from few and from many seeds."""
Model = Literal["surrogate", "victim"]


def _rounds(read: Reader, table: str, attack: str, model: Model) -> list[float]:
    """The share of crossed samples at each iteration, mean over seeds; empty if nothing could be crafted."""
    sent, seeds = (read.fields(name, table, attack) for name in ("queries", "n_seed"))
    if all(queries <= seed_images for queries, seed_images in zip(sent, seeds, strict=True)):
        return []
    return [
        mean(found) for found in zip(*read.fields(f"traits_crossed_{model}", table, attack), strict=False)
    ]


def _share(read: Reader, table: str, attack: str, model: Model) -> float:
    """The mean over iterations."""
    rounds = _rounds(read, table, attack, model)
    if not rounds:
        raise NotMeasuredError(f"Table {table.upper()}: {attack} could craft nothing")
    return mean(rounds)


def _idle(attacks: Iterable[str]) -> str:
    """Name the attacks that crafted nothing."""
    left = [attack for attack in JBAS if attack not in attacks]
    return f"; {listed(left)} could craft nothing" if left else ""


def _pgd_crosses_most(read: Reader) -> Found:
    measured = {attack: _rounds(read, FEW, attack, "victim") for attack in JBAS}
    found = {attack: rounds for attack, rounds in measured.items() if rounds}
    if JBA_PGD not in found:
        return False, f"{JBA_PGD} could craft nothing"
    ours = found[JBA_PGD]
    compared = list(zip(*found.values(), strict=False))
    best = sum(share >= max(shares) for share, shares in zip(ours, compared, strict=False))
    shown = listed(f"{attack} {percent(mean(rounds))}" for attack, rounds in found.items())
    return best == len(compared), f"highest in {best} of {len(compared)} iterations; {shown}{_idle(found)}"


def _cw_crosses_surrogate(read: Reader) -> Found:
    share = _share(read, FEW, JBA_CW, "surrogate")
    return exceeds(share, 0.95), f"{percent(share)} cross on the surrogate"


def _cw_stays(read: Reader) -> Found:
    share = _share(read, FEW, JBA_CW, "victim")
    return exceeds(0.05, share), f"{percent(share)} cross on the victim"


def _many_cross_more(read: Reader) -> Found:
    both = [attack for attack in JBAS if all(_rounds(read, table, attack, "victim") for table in (FEW, MANY))]
    if not both:
        raise NotMeasuredError("no JBA could craft anything with few seeds and with many")
    few, many = (mean(_share(read, table, attack, "victim") for attack in both) for table in (FEW, MANY))
    return exceeds(many, few), f"{percent(few)} with few seeds, {percent(many)} with many{_idle(both)}"


def _most_stay(read: Reader) -> Found:
    found = {attack: _share(read, MANY, attack, "victim") for attack in JBAS}
    figures = listed(f"{attack} {percent(share)}" for attack, share in found.items())
    return all(exceeds(0.5, share) for share in found.values()), figures


def _transfer_badly(read: Reader) -> Found:
    shown, holds = [], True
    for attack in (JBA_CW, JBA_BS):
        theirs, ours = (_share(read, MANY, attack, model) for model in ("surrogate", "victim"))
        holds &= exceeds(theirs / 2, ours)
        shown.append(f"{attack} {percent(theirs)} on the surrogate, {percent(ours)} on the victim")
    return holds, "; ".join(shown)


CLAIMS = (
    Claim(
        "pgd-crosses-most",
        "With few seeds JBA-PGD has the largest share of samples crossed on the victim at each iteration.",
        "Figure 2, §IV-B2",
        _pgd_crosses_most,
    ),
    Claim(
        "cw-crosses-surrogate",
        "With few seeds almost all of CW's samples (over 95%) cross on the surrogate.",
        "Figure 2, §IV-B2",
        _cw_crosses_surrogate,
    ),
    Claim(
        "cw-stays-on-victim",
        "With few seeds fewer than 5% of CW's samples cross on the victim.",
        "Figure 2, §IV-B2",
        _cw_stays,
    ),
    Claim(
        "many-seeds-cross-more",
        "JBAs, taken together, cross more on the victim with many seeds than with few.",
        "Figures 2 and 3, §IV-B2",
        _many_cross_more,
    ),
    Claim(
        "most-do-not-cross",
        "JBAs are no good at crossing the victim's boundary: under half of each one's samples do.",
        "§I, Figure 3, §IX",
        _most_stay,
    ),
    Claim(
        "crossing-transfers-badly",
        "Of CW's and binary search's samples under half as many cross on the victim as on the surrogate.",
        "Figure 3, §IV-B3",
        _transfer_badly,
    ),
)
