"""Figures 2 and 3: do queries cross decision boundaries (§IV-B2)?"""

from collections.abc import Iterable
from typing import Literal

from redhanded.experiments.claims.attacks import JBAS
from redhanded.experiments.claims.base import Claim, Finding
from redhanded.experiments.claims.reader import (
    NotMeasuredError,
    Pair,
    Reader,
    Sample,
    every,
    exceeds,
    listed,
    percent,
    rows_of,
    together,
)
from redhanded.experiments.claims.rounds import NothingCraftedError, crafted, iterations, overall
from redhanded.experiments.tables.extraction import JBA_BS, JBA_CW, JBA_PGD

FEW, MANY = "i", "ii"
"""The tables whose thefts start from few and from many seeds."""
Model = Literal["surrogate", "victim"]


def _share(read: Reader, table: str, attack: str, model: Model) -> Sample:
    """The share of all crafted samples that crossed."""
    return overall(read, table, attack, f"traits_crossed_{model}")


def _idle(read: Reader, table: str) -> list[str]:
    """The attacks that crafted nothing."""
    found = []
    for attack in JBAS:
        try:
            crafted(read, table, attack)
        except NothingCraftedError:
            found.append(attack)
        except NotMeasuredError:
            continue
    return found


def _without(idle: Iterable[str]) -> str:
    left = listed(idle)
    return f"; {left} could craft nothing" if left else ""


def _pgd_crosses_most(read: Reader) -> Finding:
    idle = _idle(read, FEW)
    busy = [attack for attack in JBAS if attack not in idle]
    if JBA_PGD in idle or len(busy) < 2:
        raise NotMeasuredError(f"Table {FEW.upper()}: there is nothing to compare{_without(idle)}")
    same = read.common(FEW, busy)
    crossed = rows_of(busy, lambda attack: iterations(same, FEW, attack, "traits_crossed_victim"))
    ours = crossed.found.get(JBA_PGD, [])
    others = [found for attack, found in crossed.found.items() if attack != JBA_PGD]
    highest = [
        every(Pair(share, other[place]).beats() for other in others if place < len(other))
        for place, share in enumerate(ours)
    ]
    shown = listed(
        f"{attack} {percent(overall(same, FEW, attack, 'traits_crossed_victim'))}" for attack in crossed.found
    )
    told = f"highest in {highest.count(True)} of {len(ours)} iterations"
    doubt = f", in {highest.count(None)} within the spread" if None in highest else ""
    return crossed.settled(every(highest)), f"{told}{doubt}; {shown}{_without(idle)}{crossed.rest}"


def _cw_crosses_surrogate(read: Reader) -> Finding:
    share = _share(read, FEW, JBA_CW, "surrogate")
    return exceeds(share.mean, 0.95), f"{percent(share)} cross on the surrogate"


def _cw_stays(read: Reader) -> Finding:
    share = _share(read, FEW, JBA_CW, "victim")
    return exceeds(0.05, share.mean), f"{percent(share)} cross on the victim"


def _many_cross_more(read: Reader) -> Finding:
    idle = {*_idle(read, FEW), *_idle(read, MANY)}
    both = [attack for attack in JBAS if attack not in idle]
    if not both:
        raise NotMeasuredError("no JBA could craft anything with few seeds and with many")
    few, many = (
        together([_share(read, table, attack, "victim") for attack in both]) for table in (FEW, MANY)
    )
    pair = Pair(many, few)
    left = _without(attack for attack in JBAS if attack in idle)
    return pair.beats(), f"{percent(few)} with few seeds, {percent(many)} with many{pair.doubt}{left}"


def _most_stay(read: Reader) -> Finding:
    shares = rows_of(JBAS, lambda attack: _share(read, MANY, attack, "victim"))
    figures = listed(f"{attack} {percent(share)}" for attack, share in shares.found.items())
    return shares.every(lambda share: exceeds(0.5, share.mean)), f"{figures}{shares.rest}"


def _transfer_badly(read: Reader) -> Finding:
    def on_both(attack: str) -> Pair:
        return Pair(_share(read, MANY, attack, "surrogate"), _share(read, MANY, attack, "victim"))

    shares = rows_of((JBA_CW, JBA_BS), on_both)
    shown = [
        f"{attack} {percent(pair.one)} on the surrogate, {percent(pair.other)} on the victim"
        for attack, pair in shares.found.items()
    ]
    return shares.every(lambda pair: Pair(pair.one.times(0.5), pair.other).beats()), "; ".join(
        shown
    ) + shares.rest


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
