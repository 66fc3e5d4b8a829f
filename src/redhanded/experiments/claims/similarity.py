"""Tables VII to IX: the similarity detector and its price for honest users (§VIII-A2).

Accounts are bans in fractions, beside the benign floor; the detector is the one with the loss of Equation 6.
"""

from functools import partial

from redhanded.experiments.claims.base import Claim, Found
from redhanded.experiments.claims.reader import (
    NEAR_FLOOR,
    Reader,
    Sample,
    bans,
    doubt,
    exceeds,
    listed,
)
from redhanded.experiments.tables.base import ACCOUNTS, FPR
from redhanded.experiments.tables.extraction import JB_TOP3, JBA_BS, JBA_CW, JBA_PGD
from redhanded.experiments.world import World

FAR = 3
"""Times the benign floor that is far above it: Table VIII's fewest accounts, 16, lie 3.2 times above 5."""
OUTLIER = "SVHN"
"""The set that the paper leaves out when it says what the FPR is."""


def far_above(price: float, floor: float) -> bool:
    """Whether bans are detection: over three times what honest users pay, and more than two bans above."""
    return exceeds(price, FAR * floor) and exceeds(price, floor, NEAR_FLOOR)


def beside_floor(price: float, floor: float) -> str:
    """Write bans beside their floor, and whether they are near it."""
    near = "" if exceeds(price, floor, NEAR_FLOOR) else f", within {NEAR_FLOOR:g} bans of it"
    return f"{bans(price)} (floor {bans(floor)}{near})"


def _row(attack: str) -> str:
    return f"{attack}, per-pair loss"


def _price(read: Reader, attack: str) -> Sample:
    return read.price("vii", _row(attack))


def _caught(read: Reader, loss: str) -> Found:
    shown, holds = [], True
    for attack in (JB_TOP3, JBA_PGD):
        row = f"{attack}, {loss} loss"
        price, floor = read.price("vii", row).mean, read.floor("vii", row)
        holds &= far_above(price, floor)
        shown.append(f"{attack} {beside_floor(price, floor)}")
    return holds, listed(shown)


def _pgd_fewer(read: Reader) -> Found:
    top3, pgd = _price(read, JB_TOP3), _price(read, JBA_PGD)
    figures = f"JBA-PGD {bans(pgd)}, JB-top3 {bans(top3)}{doubt(pgd, top3, NEAR_FLOOR)}"
    return exceeds(top3.mean, pgd.mean), figures


def _more_than_top3(read: Reader) -> Found:
    top3 = _price(read, JB_TOP3)
    found = {attack: _price(read, attack) for attack in (JBA_CW, JBA_BS)}
    shown = [f"{attack} {bans(price)}{doubt(price, top3, NEAR_FLOOR)}" for attack, price in found.items()]
    holds = all(exceeds(price.mean, top3.mean) for price in found.values())
    return holds, listed([f"JB-top3 {bans(top3)}", *shown])


def _column(attack: str) -> str:
    return f"{ACCOUNTS}, {attack}"


def _every_set_caught(read: Reader) -> Found:
    missed, found = [], []
    for attack in (JB_TOP3, JBA_PGD):
        for row in read.rows("viii", _column(attack)):
            price = read.price("viii", row, _column(attack)).mean
            floor = read.floor("viii", row, _column(attack))
            found.append((price, f"{row}, {attack} {beside_floor(price, floor)}"))
            missed += [] if far_above(price, floor) else [row]
    return not missed, f"{len(found) - len(missed)} of {len(found)} caught, least {min(found)[1]}"


def _pgd_fewer_by_set(read: Reader) -> Found:
    rows = read.rows("viii", _column(JB_TOP3))
    found = {
        row: tuple(read.price("viii", row, _column(attack)).mean for attack in (JB_TOP3, JBA_PGD))
        for row in rows
    }
    fewer = [row for row, (top3, pgd) in found.items() if exceeds(top3, pgd)]
    shown = listed(f"{row} {bans(pgd)} and {bans(top3)}" for row, (top3, pgd) in found.items())
    return len(fewer) == len(rows), f"PGD and top3: {shown}"


def _others_dearer(read: Reader) -> Found:
    own, *others = read.rows("viii", _column(JB_TOP3))
    price = {row: read.price("viii", row, _column(JB_TOP3)).mean for row in (own, *others)}
    dearer = [row for row in others if exceeds(price[row], price[own])]
    shown = listed(f"{row} {bans(found)}" for row, found in price.items())
    return len(dearer) > len(others) / 2, f"JB-top3: {shown}"


def _rates(read: Reader) -> dict[str, float]:
    """Bans per honest query, as flags over the flags that close an account: few images make no whole ban."""
    return {
        row: rate / quota
        for row in read.rows("ix", FPR)
        if row in read.world.query_sets
        for rate, quota in zip(
            read.fields("flag_rate", "ix", row, FPR),
            read.fields("flags_to_ban", "ix", row, FPR),
            strict=True,
        )
    }


def _fpr_held(read: Reader) -> Found:
    found = {row: rate for row, rate in _rates(read).items() if row != OUTLIER}
    holds = all(not exceeds(rate, 0.00013) and not exceeds(0.00007, rate) for rate in found.values())
    return holds, listed(f"{row} {rate:.4%}" for row, rate in found.items())


def _svhn_higher(read: Reader) -> Found:
    found = _rates(read)
    svhn = found.pop(OUTLIER)
    highest = max(found, key=lambda row: found[row])
    return exceeds(svhn, found[highest]), f"SVHN {svhn:.4%}, next {highest} {found[highest]:.4%}"


def _has_svhn(world: World) -> str:
    found = world.query_sets.get(OUTLIER)
    return "" if found is not None and found.benign else "there is no SVHN in this world"


CLAIMS = (
    Claim(
        "jbas-caught",
        "JB-top3 and JBA-PGD pay far more accounts than an honest user (over 3 times, and over 2 bans more).",
        "Table VII, §IX",
        partial(_caught, loss="per-pair"),
    ),
    Claim(
        "jbas-caught-released",
        "The same with the encoder's released loss, which the printed accounts belong to.",
        "Table VII",
        partial(_caught, loss="released"),
    ),
    Claim("pgd-fewer-than-top3", "JBA-PGD pays fewer accounts than JB-top3.", "Table VII", _pgd_fewer),
    Claim(
        "cw-bs-more-than-top3",
        "CW and binary search pay more accounts than JB-top3.",
        "Table VII",
        _more_than_top3,
    ),
    Claim(
        "every-set-caught",
        "Whatever set seeds come from, JB-top3 and JBA-PGD pay far more than an honest user (as above).",
        "Table VIII",
        _every_set_caught,
    ),
    Claim(
        "pgd-fewer-every-set",
        "Whatever set seeds come from, JBA-PGD pays fewer accounts than JB-top3.",
        "Table VIII",
        _pgd_fewer_by_set,
    ),
    Claim(
        "other-sets-dearer",
        "Seeds of most other sets cost JB-top3 more accounts than seeds of the victim's own.",
        "Table VIII, §VIII-A2",
        _others_dearer,
    ),
    Claim(
        "fpr-held",
        "On every set but SVHN honest users are banned at 0.01% of queries, give or take 0.003%.",
        "Table IX, §VIII-A2",
        _fpr_held,
    ),
    Claim("svhn-fpr-higher", "On SVHN honest users are banned most.", "Table IX", _svhn_higher, _has_svhn),
)
