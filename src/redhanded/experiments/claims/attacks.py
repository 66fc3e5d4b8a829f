"""Tables I to III: what augmentation is worth, and data-free extraction (§IV-B1)."""

from functools import partial

from redhanded.experiments.claims.base import Claim, Finding
from redhanded.experiments.claims.reader import (
    POINT,
    Pair,
    Reader,
    Rows,
    Sample,
    every,
    exceeds,
    percent,
    points,
    rows_of,
    within,
)
from redhanded.experiments.claims.rounds import crafted
from redhanded.experiments.tables import Entry
from redhanded.experiments.tables.base import ACCURACY
from redhanded.experiments.tables.extraction import BASELINE, JB_TOP3, JBA_BS, JBA_CW, JBA_PGD
from redhanded.experiments.worlds.world import World

JBAS = (JB_TOP3, JBA_PGD, JBA_CW, JBA_BS)
CHANCE_BY_LUCK = 0.02
"""Three standard errors of an accuracy of 10% on the smallest test set, 2,000 images."""
TIMES = 400
"""Queries of DFME for one of a JBA."""


def _pgd_best(read: Reader) -> Finding:
    others = (BASELINE, *(attack for attack in JBAS if attack != JBA_PGD))
    rivals = rows_of(others, lambda row: read.pair("i", JBA_PGD, row))
    holds = rivals.every(Pair.beats)
    second = min(rivals.found, key=lambda row: rivals.found[row].gain)
    pair = rivals.found[second]
    shown = f"{JBA_PGD} {percent(pair.one)}, next {second} {percent(pair.other)} of {pair.one.seeds}"
    return holds, f"{shown}{pair.doubt}{rivals.rest}"


def _beside_baseline(read: Reader, table: str) -> Rows[str, Pair]:
    """Each JBA and the seeds that it started from, sampled alone."""
    return rows_of(JBAS, lambda attack: read.pair(table, attack, BASELINE))


def _below_baseline(read: Reader) -> Finding:
    def beside(attack: str) -> Pair:
        crafted(read, "i", attack)  # what crafts nothing is its seeds alone: no overfitting
        return read.pair("i", attack, BASELINE)

    pairs = rows_of((JBA_CW, JBA_BS), beside)
    shown = [
        f"{attack} {percent(pair.one)}, baseline {percent(pair.other)} of {pair.one.seeds}{pair.doubt}"
        for attack, pair in pairs.found.items()
    ]
    return pairs.every(lambda pair: pair.turned.beats()), "; ".join(shown) + pairs.rest


def _best_gain(pairs: Rows[str, Pair]) -> tuple[Pair, str]:
    best = max(pairs.found, key=lambda attack: pairs.found[attack].gain)
    pair = pairs.found[best]
    return pair, f"{points(pair.gain)} by {best} of {pair.one.seeds}{pair.doubt}"


def _gain_up_to(read: Reader, table: str, most: float) -> Finding:
    pairs = _beside_baseline(read, table)
    bounded = pairs.every(lambda pair: pair.turned.keeps(most + POINT))
    best, figures = _best_gain(pairs)
    return every((bounded, best.beats())), f"{figures}{pairs.rest}"


def _marginal_effect(read: Reader) -> Finding:
    tables = [_beside_baseline(read, table) for table in ("i", "ii")]
    for pairs in tables:
        pairs.settled(answer=True)  # the best of some would be no bound of either
    (few, shown_few), (many, shown_many) = map(_best_gain, tables)
    return Pair(few.difference, many.difference).beats(), f"few seeds {shown_few}; many {shown_many}"


def _starts_at_chance(read: Reader) -> Finding:
    chance, early = 1 / read.world.classes, _after_a_jbas_queries(read)
    figures = f"{percent(early)} after {read.world.budget:,} queries, chance {percent(chance)}"
    return within(early.mean, chance, CHANCE_BY_LUCK), figures


def _ends_far_above(read: Reader) -> Finding:
    chance, last = 1 / read.world.classes, read.table("iii").entries[-1]
    late = read.figure("iii", last.row)
    figures = f"{percent(late)} after {last.row}, chance {percent(chance)}"
    return exceeds(late.mean, 2 * chance), figures


def _after_a_jbas_queries(read: Reader) -> Sample:
    """DFME's accuracy after as many queries as a JBA may send."""
    same = Entry("DFME", ACCURACY, (read.world.data_free(),), "accuracy_after", after=read.world.budget)
    return read.figure_of(same, "Table III: DFME")


def _behind_jba(read: Reader) -> Finding:
    theirs = _after_a_jbas_queries(read)
    jbas = rows_of(JBAS, lambda attack: read.figure("ii", attack))
    holds = jbas.every(lambda figure: Pair(figure, theirs).beats())
    worst = min(jbas.found, key=lambda attack: jbas.found[attack].mean)
    shown = f"DFME {percent(theirs)} after {read.world.budget:,} queries"
    return holds, f"{shown}, {worst} {percent(jbas.found[worst])}{jbas.rest}"


def _catches_up(read: Reader) -> Finding:
    late = read.figure("iii", read.table("iii").entries[-1].row)
    jbas = rows_of(JBAS, lambda attack: read.figure("ii", attack))
    holds = jbas.every(lambda figure: Pair(late, figure).keeps(POINT))
    best = max(jbas.found, key=lambda attack: jbas.found[attack].mean)
    return holds, f"DFME {percent(late)}, {best} {percent(jbas.found[best])}{jbas.rest}"


def _four_hundred_times(world: World) -> str:
    ratio = world.scale.data_free.budget / world.budget
    return "" if ratio == TIMES else f"DFME may send {ratio:.0f} times a JBA's queries here, not {TIMES}"


CLAIMS = (
    Claim(
        "pgd-best-few",
        "With few seeds JBA-PGD steals best, more than a point ahead of the baseline and the other JBAs.",
        "Table I, §IV-B2",
        _pgd_best,
    ),
    Claim(
        "cw-bs-below-baseline-few",
        "With few seeds CW, by overfitting, and binary search end more than a point below the baseline.",
        "Table I, §IV-B2",
        _below_baseline,
    ),
    Claim(
        "gain-few",
        "With few seeds JBAs gain up to 6 points on the baseline (at most 7 with a point of tolerance).",
        "Table I, §IV-B1",
        partial(_gain_up_to, table="i", most=0.06),
    ),
    Claim(
        "gain-many",
        "With many seeds JBAs gain up to 2 points on the baseline (at most 3 with a point of tolerance).",
        "Table II, §IV-B1",
        partial(_gain_up_to, table="ii", most=0.02),
    ),
    Claim(
        "marginal-effect",
        "The best JBA gains more than a point more with few seeds than with many.",
        "Tables I and II, §IV-B1",
        _marginal_effect,
    ),
    Claim(
        "dfme-starts-at-chance",
        "After as many queries as a JBA may send in all, DFME is still at chance (within 2 points, the luck "
        "of a test set).",
        "Table III, §IV-B1",
        _starts_at_chance,
    ),
    Claim(
        "dfme-ends-far-above-chance",
        "After all its queries DFME is far above chance (more than twice).",
        "Table III, §IV-B1",
        _ends_far_above,
    ),
    Claim(
        "dfme-behind-jba",
        "With as many queries as a JBA, DFME is more than a point worse than each of them.",
        "Tables II and III, §IV-B1",
        _behind_jba,
    ),
    Claim(
        "dfme-400-times",
        "With 400 times a JBA's queries DFME comes as far as the best one or farther (within a point).",
        "Tables II and III, §IV-B1",
        _catches_up,
        _four_hundred_times,
    ),
)
