"""Tables X to XIII: thieves who know the similarity detector (§VIII-A3).

Transforms follow the paper's words (`corrected`); tables show what its code makes of them beside.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from redhanded.experiments.claims.base import Claim, Found
from redhanded.experiments.claims.reader import (
    KEPT,
    NEAR_FLOOR,
    Reader,
    Sample,
    bans,
    doubt,
    exceeds,
    lacking,
    listed,
    percent,
)
from redhanded.experiments.claims.similarity import beside_floor, far_above
from redhanded.experiments.tables.adaptive import BLINDING, FULL_CINIC10
from redhanded.experiments.tables.base import ACCOUNTS
from redhanded.experiments.world import World

NONE, FILTERING = "none", "filtering"
LOUD = ("brightness", "contrast", "uniform", "gaussian")
"""Blindings that raise the accounts."""
QUIET = ("scale", "translate")
SAME = 0.9
"""Share of the accounts below which an adaptation lowers them; accounts vary by about that much."""
PAPER_BUDGET, PAPER_ACCOUNTS = 50_000, 8.0
NO_KEEPER = "no adaptation keeps its accuracy"


@dataclass(frozen=True)
class Adaptive:
    """An adaptation's accounts and accuracy, by a table."""

    price: Sample
    accuracy: Sample

    def keeps(self, plain: "Adaptive") -> bool:
        """Whether it steals about as well as a thief who does not adapt."""
        return not exceeds(plain.accuracy.mean, self.accuracy.mean, KEPT)


def _adaptive(read: Reader, table: str, name: str) -> Adaptive:
    row = f"{name}, corrected" if name in BLINDING else name
    return Adaptive(read.price(table, row), read.figure(table, row))


def _all(read: Reader, table: str) -> dict[str, Adaptive]:
    return {name: _adaptive(read, table, name) for name in (NONE, FILTERING, *BLINDING)}


def _keepers(found: Mapping[str, Adaptive]) -> dict[str, Adaptive]:
    """Return the adaptations that keep their accuracy, without `none`."""
    plain = found[NONE]
    return {name: one for name, one in found.items() if name != NONE and one.keeps(plain)}


def _shown(name: str, one: Adaptive) -> str:
    return f"{name} {bans(one.price)} at {percent(one.accuracy)}"


def _filtering_best(read: Reader, table: str) -> Found:
    found = _all(read, table)
    filtered, plain = found[FILTERING], found[NONE]
    others = {NONE: plain, **{name: one for name, one in _keepers(found).items() if name != FILTERING}}
    next_best = min(others, key=lambda name: others[name].price.mean)
    holds = filtered.keeps(plain) and exceeds(others[next_best].price.mean, filtered.price.mean)
    near = doubt(filtered.price, others[next_best].price, NEAR_FLOOR)
    shown = listed([_shown(FILTERING, filtered), _shown(next_best, others[next_best])])
    return holds, f"{shown}{near}; floor {bans(read.floor(table, FILTERING))}"


def _loud_raise(read: Reader) -> Found:
    plain, found = _adaptive(read, "x", NONE), {name: _adaptive(read, "x", name) for name in LOUD}
    shown = [f"{name} {bans(one.price)}" for name, one in found.items()]
    holds = all(exceeds(one.price.mean, plain.price.mean) for one in found.values())
    return holds, listed([f"none {bans(plain.price)}", *shown])


def _quiet_lower(read: Reader) -> Found:
    plain, found = _adaptive(read, "x", NONE), {name: _adaptive(read, "x", name) for name in QUIET}
    holds = all(one.keeps(plain) and exceeds(plain.price.mean, one.price.mean) for one in found.values())
    return holds, listed(_shown(name, one) for name, one in {NONE: plain, **found}.items())


def _autoencoder(read: Reader) -> Found:
    plain, blinded = _adaptive(read, "x", NONE), _adaptive(read, "x", "auto-encoder")
    holds = exceeds(plain.price.mean, blinded.price.mean) and not blinded.keeps(plain)
    return holds, listed([_shown(NONE, plain), _shown("auto-encoder", blinded)])


def _contrast(read: Reader) -> Found:
    plain, blinded = _adaptive(read, "x", NONE), _adaptive(read, "x", "contrast")
    return not blinded.keeps(plain), listed([_shown(NONE, plain), _shown("contrast", blinded)])


def _above_floor(read: Reader, table: str) -> Found:
    keepers = _keepers(_all(read, table))
    if not keepers:
        return True, NO_KEEPER
    least = min(keepers, key=lambda name: keepers[name].price.mean)
    price = keepers[least].price.mean
    floor = read.floor(table, f"{least}, corrected" if least in BLINDING else least)
    return exceeds(price, floor), f"least {least} {beside_floor(price, floor)}"


def _eight_accounts(read: Reader) -> Found:
    shown, holds = [], True
    for table in ("x", "xi", "xii"):
        keepers = _keepers(_all(read, table))
        for name in sorted(keepers, key=lambda name: keepers[name].price.mean)[:1]:
            holds &= not exceeds(PAPER_ACCOUNTS, keepers[name].price.mean)
            shown.append(f"Table {table.upper()} {name} {bans(keepers[name].price)}")
    return holds, listed(shown) or NO_KEEPER


def _paper_budget(world: World) -> str:
    if world.budget >= PAPER_BUDGET:
        return ""
    scaled = PAPER_ACCOUNTS * world.budget / PAPER_BUDGET
    return f"8 accounts belong to {PAPER_BUDGET:,} queries; of {world.budget:,} they would be {scaled:.1f}"


def _foreign_filter(read: Reader) -> Found:
    plain, filtered = read.price("x", NONE), read.price("x", FULL_CINIC10)
    return _no_fewer(filtered, plain), f"none {bans(plain)}, filtering {bans(filtered)}"


def _no_fewer(adapted: Sample, plain: Sample) -> bool:
    return not exceeds(SAME * plain.mean, adapted.mean)


def _dfme_caught(read: Reader) -> Found:
    price, floor = read.figure("xiii", NONE, ACCOUNTS).mean, read.floor("xiii", NONE)
    return far_above(price, floor), beside_floor(price, floor)


def _filtered_data_free(read: Reader) -> Found:
    plain, filtered = (read.figure("xiii", row, ACCOUNTS) for row in (NONE, FILTERING))
    return _no_fewer(filtered, plain), f"none {bans(plain)}, filtering {bans(filtered)}"


def _blinded_data_free(read: Reader) -> Found:
    plain = read.figure("xiii", NONE, ACCOUNTS)
    rows = [row for row in read.rows("xiii", ACCOUNTS) if row.split(",")[0] in BLINDING]
    found = {row: read.figure("xiii", row, ACCOUNTS) for row in rows}
    shown = listed(f"{row} {bans(price)}" for row, price in found.items())
    return all(_no_fewer(price, plain) for price in found.values()), f"none {bans(plain)}, {shown}"


KEEPS = "adaptations that cost at most 3 points of accuracy"

CLAIMS = (
    *(
        Claim(
            f"filtering-best-{table}",
            f"Filtering with own data pays the fewest accounts of the {KEEPS} ({attack}).",
            f"Table {table.upper()}, §VIII-A3",
            partial(_filtering_best, table=table),
        )
        for table, attack in (("x", "JB-top3"), ("xi", "JBA-PGD"), ("xii", "JB-top3, the close set"))
    ),
    Claim(
        "noise-and-colour-raise",
        "Brightness, contrast, uniform and Gaussian noise raise the accounts of JB-top3.",
        "Table X",
        _loud_raise,
    ),
    Claim(
        "scale-translate-lower",
        "Scaling and translating lower the accounts of JB-top3 and cost at most 3 points.",
        "Table X, §VIII-A3",
        _quiet_lower,
    ),
    Claim(
        "auto-encoder-costs",
        "The auto-encoder lowers the accounts of JB-top3 and costs more than 3 points.",
        "Table X, §VIII-A3",
        _autoencoder,
    ),
    Claim("contrast-costs", "Contrast costs JB-top3 more than 3 points.", "Table X", _contrast),
    *(
        Claim(
            f"robust-{table}",
            f"Of the {KEEPS} ({attack}), each still pays more accounts than an honest user.",
            f"Table {table.upper()}, §VIII-A3, §IX",
            partial(_above_floor, table=table),
        )
        for table, attack in (("x", "JB-top3"), ("xi", "JBA-PGD"))
    ),
    Claim(
        "eight-accounts",
        f"Each of the {KEEPS} pays at least 8 accounts for 50,000 queries.",
        "Tables X to XII, §I",
        _eight_accounts,
        _paper_budget,
    ),
    Claim(
        "foreign-filter-fails",
        "A filter trained on all of CINIC-10 does not lower the accounts of JB-top3 (by over a tenth).",
        "Table X, §VIII-A3",
        _foreign_filter,
        partial(lacking, "x", FULL_CINIC10, ACCOUNTS),
    ),
    Claim(
        "dfme-caught",
        "DFME pays far more accounts than an honest user (over 3 times, and over 2 bans more).",
        "Table XIII",
        _dfme_caught,
    ),
    Claim(
        "dfme-filtering-fails",
        "Filtering does not lower DFME's accounts by over a tenth (the paper's filter learnt CINIC-10).",
        "Table XIII, §VIII-A3",
        _filtered_data_free,
    ),
    Claim(
        "dfme-blinding-fails",
        "No blinding lowers DFME's accounts (by over a tenth).",
        "Table XIII, §VIII-A3",
        _blinded_data_free,
    ),
)
