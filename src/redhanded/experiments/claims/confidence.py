"""Figures 5 and 6: how near to boundaries queries lie, how far they move, how clones overfit (§IV)."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import mean

import numpy as np

from redhanded.experiments.claims.attacks import JBAS
from redhanded.experiments.claims.base import Claims, Finding
from redhanded.experiments.claims.crossing import FEW, MANY, Model
from redhanded.experiments.claims.reader import NotMeasuredError, Reader, rows_of
from redhanded.experiments.claims.rounds import crafted, overall
from redhanded.experiments.claims.sample import Pair, Sample, every, exceeds, listed, percent
from redhanded.experiments.measure.characterise import BINS
from redhanded.experiments.tables.extraction import JB_TOP3, JBA_BS, JBA_CW, JBA_PGD
from redhanded.types import Float64

CONFIDENT = 0.9
"""Predicted confidence above which a query lies far from every boundary."""
EARLY = 4
"""Part of its queries after which DFME's two models start to agree: 5 of 20 million."""
CLAIMS = Claims()


def _pooled(read: Reader, attack: str, model: Model) -> Float64[np.ndarray, " bins"]:
    """The shares of a histogram over all seeds and iterations, from many seeds as in Figure 5."""
    crafted(read, MANY, attack)
    seeds = read.fields(f"traits_confidence_{model}", MANY, attack)
    return _shares([counts for rounds in seeds for counts in rounds])


def _shares(histograms: Sequence[Sequence[int]]) -> Float64[np.ndarray, " bins"]:
    total: Float64[np.ndarray, " bins"] = np.asarray(histograms, np.float64).reshape(-1, BINS).sum(0)
    if not total.any():
        raise NotMeasuredError("there is no predicted confidence of any crafted image")
    shares: Float64[np.ndarray, " bins"] = total / total.sum()
    return shares


def _sure(read: Reader, attack: str, model: Model) -> Sample:
    """The share of an attack's images above the confidence that counts as high."""
    pooled = _above(_pooled(read, attack, model))  # raises if no seed crafted anything
    seeds = read.fields(f"traits_confidence_{model}", MANY, attack)
    own = Sample.of([_above(_shares(rounds)) for rounds in seeds if np.any(rounds)])
    return replace(own, mean=pooled)


def _above(shares: Float64[np.ndarray, " bins"]) -> float:
    return float(shares[round(CONFIDENT * BINS) :].sum())


def _apart(one: Float64[np.ndarray, " bins"], other: Float64[np.ndarray, " bins"]) -> float:
    """Total variation: the share that would have to move to make them equal."""
    return float(np.abs(one - other).sum() / 2)


@CLAIMS.add("cw-bs-uncertain", "Figure 5, §IV-B3")
def _uncertain(read: Reader) -> Finding:
    """CW and binary search make samples the surrogate is unsure of: under half above a confidence of 0.9,
    and fewer than JB-top3 and PGD.
    """
    same = read.common(MANY, JBAS)
    sure = rows_of(JBAS, lambda attack: _sure(same, attack, "surrogate"))
    near, far = (
        [sure.found[attack] for attack in attacks if attack in sure.found]
        for attacks in ((JBA_CW, JBA_BS), (JB_TOP3, JBA_PGD))
    )
    unsure = [exceeds(0.5, share.mean) for share in near]
    holds = sure.settled(every([*unsure, *(Pair(more, less).beats() for more in far for less in near)]))
    figures = listed(f"{attack} {percent(share)}" for attack, share in sure.found.items())
    return holds, f"above 0.9: {figures}{sure.rest}"


@CLAIMS.add("victim-stays-confident", "Figure 5, §IV-B3, §IX")
def _victim_sure(read: Reader) -> Finding:
    """The victim stays sure of most of what each JBA crafts: over half above a confidence of 0.9."""
    sure = rows_of(JBAS, lambda attack: _sure(read, attack, "victim"))
    holds, figures = sure.finding(
        lambda share: exceeds(share.mean, 0.5), lambda attack, share: f"{attack} {percent(share)}"
    )
    return holds, f"above 0.9: {figures}"


def _generated(read: Reader, model: Model) -> list[Sequence[int]]:
    """DFME's histograms, one a look."""
    last = read.table("iii").entries[-1].row
    (looks,) = read.fields(f"traits_confidence_{model}", "iii", last)
    return list(looks)


@CLAIMS.add("dfme-confidence-even", "Figure 6, §IV-B3")
def _spread_out(read: Reader) -> Finding:
    """The victim's confidence in DFME's queries is spread more evenly from 0 to 1 than in any JBA's."""
    even = np.full(BINS, 1 / BINS)
    theirs = _apart(_shares(_generated(read, "victim")), even)
    jbas = rows_of(JBAS, lambda attack: _apart(_pooled(read, attack, "victim"), even))
    holds = jbas.every(lambda ours: Pair(Sample(ours), Sample(theirs)).beats())
    closest = jbas.least(lambda ours: ours)
    figures = f"from even: DFME {theirs:.2f}, nearest JBA {closest} {jbas.found[closest]:.2f}"
    return holds, f"{figures}{jbas.rest}"


@CLAIMS.add("dfme-synchronises", "Figure 6, §IV-B3")
def _synchronise(read: Reader) -> Finding:
    """After a quarter of its queries DFME's two models are, on average, closer in confidence than before."""
    last = read.table("iii").entries[-1].row
    (queries,) = read.fields("traits_queries", "iii", last)
    pairs = zip(_generated(read, "surrogate"), _generated(read, "victim"), strict=True)
    gaps = [_apart(_shares([ours]), _shares([theirs])) for ours, theirs in pairs]
    begun = read.world.scale.data_free.budget / EARLY
    early = [gap for gap, sent in zip(gaps, queries, strict=True) if sent < begun]
    late = gaps[len(early) :]
    if not early or not late:
        raise NotMeasuredError("Table III: DFME's queries were not looked at before and after a quarter")
    figures = f"apart by {mean(early):.2f} before a quarter of the queries, {mean(late):.2f} after"
    return Pair(Sample(mean(early)), Sample(mean(late))).beats(), figures


@CLAIMS.add("cw-closer-than-pgd", "§IV-B3")
def _cw_closer(read: Reader) -> Finding:
    """CW moves images less than PGD does (L2)."""
    same = read.common(MANY, (JBA_CW, JBA_PGD))
    cw, pgd = (overall(same, MANY, attack, "traits_l2_standardised") for attack in (JBA_CW, JBA_PGD))
    figures = f"standardised L2: CW {cw.mean:.2f} (paper 1 to 2.5), PGD {pgd.mean:.2f} (5 to 6)"
    return Pair(pgd, cw, least=0.0).beats(), figures  # the paper gives distances no spread


def _known(read: Reader, table: str, attack: str) -> Sample:
    """The clone's accuracy on what it was trained on, where that is more than seeds."""
    crafted(read, table, attack)
    return Sample.of(read.fields("transfer_accuracy", table, attack))


@CLAIMS.add("clones-overfit", "§IV")
def _overfit(read: Reader) -> Finding:
    """Clones are over 90% right on what they were trained on, and on test images over 3 points less."""

    def known_and_new(attack: str) -> Pair:
        return Pair(_known(read, MANY, attack), read.figure(MANY, attack))

    return rows_of(JBAS, known_and_new).finding(
        lambda pair: every((exceeds(pair.one.mean, 0.9), pair.beats(0.03))),
        lambda attack, pair: f"{attack} {percent(pair.one)} and {percent(pair.other)}",
    )


@CLAIMS.add("cw-overfits-more", "§IV-B2")
def _cw_overfits_more(read: Reader) -> Finding:
    """With few seeds CW's clone fits its transfer set better than PGD's, by over a point (98% and 92%)."""
    same = read.common(FEW, (JBA_CW, JBA_PGD))
    cw, pgd = (_known(same, FEW, attack) for attack in (JBA_CW, JBA_PGD))
    return Pair(cw, pgd).beats(), Pair(cw, pgd).written("on the transfer set: CW", "PGD", percent)
