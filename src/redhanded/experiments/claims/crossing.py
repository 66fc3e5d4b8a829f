"""Figures 2 and 3: do queries cross decision boundaries (§IV-B2)?"""

from collections.abc import Iterable
from typing import Literal

from redhanded.experiments.claims.attacks import JBAS
from redhanded.experiments.claims.base import Claims, Finding
from redhanded.experiments.claims.reader import NotMeasuredError, Reader, rows_of
from redhanded.experiments.claims.rounds import NothingCraftedError, crafted, iterations, overall
from redhanded.experiments.claims.sample import Pair, Sample, every, exceeds, listed, percent, together
from redhanded.experiments.tables.extraction import JBA_BS, JBA_CW, JBA_PGD

FEW, MANY = "i", "ii"
"""The tables whose thefts start from few and from many seeds."""
Model = Literal["surrogate", "victim"]
CLAIMS = Claims()


def _share(read: Reader, table: str, attack: str, model: Model) -> Sample:
    return overall(read, table, attack, f"traits_crossed_{model}")


def _idle(read: Reader, table: str) -> list[str]:
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


@CLAIMS.add("pgd-crosses-most", "Figure 2, §IV-B2")
def _pgd_crosses_most(read: Reader) -> Finding:
    """With few seeds JBA-PGD has the largest share of samples crossed on the victim at each iteration."""
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


@CLAIMS.add("cw-crosses-surrogate", "Figure 2, §IV-B2")
def _cw_crosses_surrogate(read: Reader) -> Finding:
    """With few seeds almost all of CW's samples (over 95%) cross on the surrogate."""
    share = _share(read, FEW, JBA_CW, "surrogate")
    return exceeds(share.mean, 0.95), f"{percent(share)} cross on the surrogate"


@CLAIMS.add("cw-stays-on-victim", "Figure 2, §IV-B2")
def _cw_stays(read: Reader) -> Finding:
    """With few seeds fewer than 5% of CW's samples cross on the victim."""
    share = _share(read, FEW, JBA_CW, "victim")
    return exceeds(0.05, share.mean), f"{percent(share)} cross on the victim"


@CLAIMS.add("many-seeds-cross-more", "Figures 2 and 3, §IV-B2")
def _many_cross_more(read: Reader) -> Finding:
    """JBAs, taken together, cross more on the victim with many seeds than with few."""
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


@CLAIMS.add("most-do-not-cross", "§I, Figure 3, §IX")
def _most_stay(read: Reader) -> Finding:
    """JBAs are no good at crossing the victim's boundary: under half of each one's samples do."""
    shares = rows_of(JBAS, lambda attack: _share(read, MANY, attack, "victim"))
    return shares.finding(
        lambda share: exceeds(0.5, share.mean), lambda attack, share: f"{attack} {percent(share)}"
    )


@CLAIMS.add("crossing-transfers-badly", "Figure 3, §IV-B3")
def _transfer_badly(read: Reader) -> Finding:
    """Of CW's and binary search's samples under half as many cross on the victim as on the surrogate."""

    def on_both(attack: str) -> Pair:
        return Pair(_share(read, MANY, attack, "surrogate"), _share(read, MANY, attack, "victim"))

    return rows_of((JBA_CW, JBA_BS), on_both).finding(
        lambda pair: Pair(pair.one.times(0.5), pair.other).beats(),
        lambda attack, pair: (
            f"{attack} {percent(pair.one)} on the surrogate, {percent(pair.other)} on the victim"
        ),
        "; ",
    )
