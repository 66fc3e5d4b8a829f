"""Figures 5 and 6: how near to boundaries queries lie, how far they move, how clones overfit (§IV)."""

from collections.abc import Sequence
from statistics import mean

import numpy as np

from redhanded.experiments.characterise import BINS
from redhanded.experiments.claims.attacks import JBAS
from redhanded.experiments.claims.base import Claim, Found
from redhanded.experiments.claims.crossing import FEW, MANY, Model
from redhanded.experiments.claims.reader import POINT, NotMeasuredError, Reader, exceeds, listed, percent
from redhanded.experiments.tables.extraction import JB_TOP3, JBA_BS, JBA_CW, JBA_PGD
from redhanded.types import Float64

CONFIDENT = 0.9
"""Predicted confidence above which a query lies far from every boundary."""
EARLY = 4
"""Part of its queries after which DFME's two models start to agree: 5 of 20 million."""


def _pooled(read: Reader, attack: str, model: Model) -> Float64[np.ndarray, " bins"]:
    """The shares of a histogram over all seeds and iterations, from many seeds as in Figure 5."""
    seeds = read.fields(f"traits_confidence_{model}", MANY, attack)
    return _shares([counts for rounds in seeds for counts in rounds])


def _shares(histograms: Sequence[Sequence[int]]) -> Float64[np.ndarray, " bins"]:
    total: Float64[np.ndarray, " bins"] = np.asarray(histograms, np.float64).sum(0)
    return total / max(float(total.sum()), 1.0)


def _sure(shares: Float64[np.ndarray, " bins"]) -> float:
    """The share above the confidence that counts as high."""
    return float(shares[round(CONFIDENT * BINS) :].sum())


def _apart(one: Float64[np.ndarray, " bins"], other: Float64[np.ndarray, " bins"]) -> float:
    """Total variation: the share that would have to move to make them equal."""
    return float(np.abs(one - other).sum() / 2)


def _uncertain(read: Reader) -> Found:
    sure = {attack: _sure(_pooled(read, attack, "surrogate")) for attack in JBAS}
    near, far = [sure[JBA_CW], sure[JBA_BS]], [sure[JB_TOP3], sure[JBA_PGD]]
    figures = listed(f"{attack} {percent(share)}" for attack, share in sure.items())
    return exceeds(0.5, max(near)) and exceeds(min(far), max(near)), f"above 0.9: {figures}"


def _victim_sure(read: Reader) -> Found:
    sure = {attack: _sure(_pooled(read, attack, "victim")) for attack in JBAS}
    figures = listed(f"{attack} {percent(share)}" for attack, share in sure.items())
    return all(exceeds(share, 0.5) for share in sure.values()), f"above 0.9: {figures}"


def _generated(read: Reader, model: Model) -> list[Sequence[int]]:
    """DFME's histograms, one a look."""
    last = read.table("iii").entries[-1].row
    (looks,) = read.fields(f"traits_confidence_{model}", "iii", last)
    return list(looks)


def _spread_out(read: Reader) -> Found:
    even = np.full(BINS, 1 / BINS)
    theirs = _apart(_shares(_generated(read, "victim")), even)
    found = {attack: _apart(_pooled(read, attack, "victim"), even) for attack in JBAS}
    closest = min(found, key=lambda attack: found[attack])
    figures = f"from even: DFME {theirs:.2f}, nearest JBA {closest} {found[closest]:.2f}"
    return exceeds(found[closest], theirs), figures


def _synchronise(read: Reader) -> Found:
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
    return exceeds(mean(early), mean(late)), figures


def _cw_closer(read: Reader) -> Found:
    cw, pgd = (
        mean(mean(rounds) for rounds in read.fields("traits_l2_standardised", MANY, attack))
        for attack in (JBA_CW, JBA_PGD)
    )
    return exceeds(pgd, cw), f"standardised L2: CW {cw:.2f} (paper 1 to 2.5), PGD {pgd:.2f} (5 to 6)"


def _overfit(read: Reader) -> Found:
    shown, holds = [], True
    for attack in JBAS:
        known = mean(read.fields("transfer_accuracy", MANY, attack))
        new = read.figure(MANY, attack).mean
        holds &= exceeds(known, 0.9) and exceeds(known, new, 0.03)
        shown.append(f"{attack} {percent(known)} and {percent(new)}")
    return holds, listed(shown)


def _cw_overfits_more(read: Reader) -> Found:
    cw, pgd = (mean(read.fields("transfer_accuracy", FEW, attack)) for attack in (JBA_CW, JBA_PGD))
    return exceeds(cw, pgd, POINT), f"on the transfer set: CW {percent(cw)}, PGD {percent(pgd)}"


CLAIMS = (
    Claim(
        "cw-bs-uncertain",
        "CW and binary search make samples the surrogate is unsure of: under half above a confidence of 0.9, "
        "and fewer than JB-top3 and PGD.",
        "Figure 5, §IV-B3",
        _uncertain,
    ),
    Claim(
        "victim-stays-confident",
        "The victim stays sure of most of what each JBA crafts: over half above a confidence of 0.9.",
        "Figure 5, §IV-B3, §IX",
        _victim_sure,
    ),
    Claim(
        "dfme-confidence-even",
        "The victim's confidence in DFME's queries is spread more evenly from 0 to 1 than in any JBA's.",
        "Figure 6, §IV-B3",
        _spread_out,
    ),
    Claim(
        "dfme-synchronises",
        "After a quarter of its queries DFME's two models are, on average, closer in confidence than before.",
        "Figure 6, §IV-B3",
        _synchronise,
    ),
    Claim("cw-closer-than-pgd", "CW moves images less than PGD does (L2).", "§IV-B3", _cw_closer),
    Claim(
        "clones-overfit",
        "Clones are over 90% right on what they were trained on, and on test images over 3 points less.",
        "§IV",
        _overfit,
    ),
    Claim(
        "cw-overfits-more",
        "With few seeds CW's clone fits its transfer set better than PGD's, by over a point (98% and 92%).",
        "§IV-B2",
        _cw_overfits_more,
    ),
)
