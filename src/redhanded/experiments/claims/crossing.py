"""Figures 2 and 3: do queries cross decision boundaries (§IV-B2)?"""

from collections.abc import Iterable
from statistics import mean
from typing import Literal

from redhanded.experiments.claims.attacks import JBAS
from redhanded.experiments.claims.base import Claim, Found
from redhanded.experiments.claims.reader import NotMeasuredError, Reader, exceeds, listed, percent, seen
from redhanded.experiments.claims.rounds import NothingCraftedError, crafted, iterations, overall
from redhanded.experiments.tables.extraction import JBA_BS, JBA_CW, JBA_PGD

FEW, MANY = "i", "ii"
"""The tables whose thefts start from few and from many seeds."""
Model = Literal["surrogate", "victim"]


def _share(read: Reader, table: str, attack: str, model: Model) -> float:
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


def _pgd_crosses_most(read: Reader) -> Found:
    idle = _idle(read, FEW)
    busy = [attack for attack in JBAS if attack not in idle]
    if JBA_PGD in idle or len(busy) < 2:
        raise NotMeasuredError(f"Table {FEW.upper()}: there is nothing to compare{_without(idle)}")
    same = read.common(FEW, busy)
    crossed = seen(busy, lambda attack: iterations(same, FEW, attack, "traits_crossed_victim"))
    ours = crossed.found.get(JBA_PGD, [])
    best = [
        place
        for place, share in enumerate(ours)
        if share >= max(rounds[place] for rounds in crossed.found.values() if place < len(rounds))
    ]
    holds = crossed.settled(len(best) == len(ours))
    shown = listed(
        f"{attack} {percent(overall(same, FEW, attack, 'traits_crossed_victim'))}" for attack in crossed.found
    )
    figures = f"highest in {len(best)} of {len(ours)} iterations; {shown}"
    return holds, f"{figures}{_without(idle)}{crossed.rest}"


def _cw_crosses_surrogate(read: Reader) -> Found:
    share = _share(read, FEW, JBA_CW, "surrogate")
    return exceeds(share, 0.95), f"{percent(share)} cross on the surrogate"


def _cw_stays(read: Reader) -> Found:
    share = _share(read, FEW, JBA_CW, "victim")
    return exceeds(0.05, share), f"{percent(share)} cross on the victim"


def _many_cross_more(read: Reader) -> Found:
    idle = {*_idle(read, FEW), *_idle(read, MANY)}
    both = [attack for attack in JBAS if attack not in idle]
    if not both:
        raise NotMeasuredError("no JBA could craft anything with few seeds and with many")
    few, many = (mean(_share(read, table, attack, "victim") for attack in both) for table in (FEW, MANY))
    left = _without(attack for attack in JBAS if attack in idle)
    return exceeds(many, few), f"{percent(few)} with few seeds, {percent(many)} with many{left}"


def _most_stay(read: Reader) -> Found:
    shares = seen(JBAS, lambda attack: _share(read, MANY, attack, "victim"))
    figures = listed(f"{attack} {percent(share)}" for attack, share in shares.found.items())
    return shares.all(lambda share: exceeds(0.5, share)), f"{figures}{shares.rest}"


def _transfer_badly(read: Reader) -> Found:
    def on_both(attack: str) -> tuple[float, float]:
        return _share(read, MANY, attack, "surrogate"), _share(read, MANY, attack, "victim")

    shares = seen((JBA_CW, JBA_BS), on_both)
    shown = [
        f"{attack} {percent(theirs)} on the surrogate, {percent(ours)} on the victim"
        for attack, (theirs, ours) in shares.found.items()
    ]
    return shares.all(lambda pair: exceeds(pair[0] / 2, pair[1])), "; ".join(shown) + shares.rest


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
