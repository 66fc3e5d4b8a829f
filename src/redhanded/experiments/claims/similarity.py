"""Tables VII to IX: the similarity detector and its price for honest users (§VIII-A2).

Accounts are bans in fractions, beside the benign floor; the detector is the one with the loss of Equation 6.
"""

from redhanded.experiments.claims.base import Claims, Finding
from redhanded.experiments.claims.reader import Reader, Rows, rows_of
from redhanded.experiments.claims.sample import NEAR_FLOOR, Answer, Pair, bans, every, exceeds, listed
from redhanded.experiments.tables.base import ACCOUNTS, FPR
from redhanded.experiments.tables.extraction import JB_TOP3, JBA_BS, JBA_CW, JBA_PGD
from redhanded.experiments.worlds.world import World

FAR = 3
"""Times the benign floor that is far above it: Table VIII's fewest accounts, 16, lie 3.2 times above 5."""
OUTLIER = "SVHN"
"""Left out of what is said of the FPR by us, not by the paper: §VIII-A2 says 0.01 ± 0.003% "regardless of the
sources", but its own Table IX prints 0.060% for SVHN."""
LEAST_FPR, MOST_FPR = 0.00007, 0.00013
"""0.01 ± 0.003%."""
CLAIMS = Claims()


def far_above(pair: Pair) -> Answer:
    """Whether bans are detection: over three times what honest users pay, and more than two bans above."""
    return every((exceeds(pair.one.mean, FAR * pair.other.mean), pair.beats()))


def beside_floor(pair: Pair) -> str:
    """Write bans beside their floor, and whether they are near it."""
    return f"{bans(pair.one)} (floor {bans(pair.other)}){pair.doubt}"


def _caught(read: Reader, loss: str) -> Finding:
    prices = rows_of((JB_TOP3, JBA_PGD), lambda attack: read.beside_floor("vii", f"{attack}, {loss} loss"))
    return prices.finding(far_above, lambda attack, pair: f"{attack} {beside_floor(pair)}")


@CLAIMS.add("jbas-caught", "Table VII, §VIII-A2, §IX")
def _caught_per_pair(read: Reader) -> Finding:
    """JB-top3 and JBA-PGD pay far more accounts than an honest user (over 3 times, and over 2 bans more)."""
    return _caught(read, "per-pair")


@CLAIMS.add("jbas-caught-released", "Table VII, §VIII-A2")
def _caught_released(read: Reader) -> Finding:
    """The same with the encoder's released loss, which the printed accounts belong to."""
    return _caught(read, "released")


def _beside_top3(read: Reader, attack: str) -> Pair:
    return read.prices("vii", f"{attack}, per-pair loss", f"{JB_TOP3}, per-pair loss")


@CLAIMS.add("pgd-fewer-than-top3", "Table VII, §VIII-A2")
def _pgd_fewer(read: Reader) -> Finding:
    """JBA-PGD pays fewer accounts than JB-top3."""
    pair = _beside_top3(read, JBA_PGD)
    return pair.trails(), pair.written(JBA_PGD, JB_TOP3, bans)


@CLAIMS.add("cw-bs-more-than-top3", "Table VII, §VIII-A2")
def _more_than_top3(read: Reader) -> Finding:
    """CW and binary search pay more accounts than JB-top3."""
    pairs = rows_of((JBA_CW, JBA_BS), lambda attack: _beside_top3(read, attack))
    return pairs.finding(Pair.beats, lambda attack, pair: pair.written(attack, JB_TOP3, bans), "; ")


def _column(attack: str) -> str:
    return f"{ACCOUNTS}, {attack}"


def _places(read: Reader) -> list[tuple[str, str]]:
    return [(row, attack) for attack in (JB_TOP3, JBA_PGD) for row in read.rows("viii", _column(attack))]


@CLAIMS.add("every-set-caught", "Table VIII, §VIII-A2")
def _every_set_caught(read: Reader) -> Finding:
    """Whatever set seeds come from, JB-top3 and JBA-PGD pay far more than an honest user (as above)."""
    prices = rows_of(_places(read), lambda place: read.beside_floor("viii", place[0], _column(place[1])))
    holds = prices.every(far_above)
    caught = sum(far_above(found) is True for found in prices.found.values())
    least = prices.least(lambda pair: pair.one.mean)
    shown = f"{listed(least)} {beside_floor(prices.found[least])}"
    return holds, f"{caught} of {len(prices.found)} caught, least {shown}{prices.rest}"


@CLAIMS.add("pgd-fewer-every-set", "Table VIII, §VIII-A2")
def _pgd_fewer_by_set(read: Reader) -> Finding:
    """Whatever set seeds come from, JBA-PGD pays fewer accounts than JB-top3."""

    def both(row: str) -> Pair:
        pgd, top3 = (read.price("viii", row, _column(attack)) for attack in (JBA_PGD, JB_TOP3))
        return Pair(pgd, top3, NEAR_FLOOR)

    prices = rows_of(read.rows("viii", _column(JB_TOP3)), both)
    holds, shown = prices.finding(
        Pair.trails, lambda row, pair: f"{row} {bans(pair.one)} and {bans(pair.other)}{pair.doubt}"
    )
    return holds, f"PGD and top3: {shown}"


@CLAIMS.add("other-sets-dearer", "Table VIII, §VIII-A2")
def _others_dearer(read: Reader) -> Finding:
    """Seeds of most other sets cost JB-top3, and JBA-PGD, more accounts than seeds of the victim's own."""
    own = next(iter(read.world.query_sets))
    prices = rows_of(_places(read), lambda place: read.price("viii", place[0], _column(place[1])))
    won, lost, shown = [], [], []
    for attack in (JB_TOP3, JBA_PGD):
        found = {row: price for (row, name), price in prices.found.items() if name == attack}
        shown.append(f"{attack}: " + listed(f"{row} {bans(price)}" for row, price in found.items()))
        dearer = [
            Pair(price, found[own], NEAR_FLOOR).beats()
            for row, price in found.items()
            if own in found and row != own
        ]
        others = len(read.rows("viii", _column(attack))) - 1
        won.append(2 * dearer.count(True) > others)
        lost.append(2 * dearer.count(False) >= others)
    # a majority is one whatever sets are not measured yet
    answer = True if all(won) else prices.settled(False if any(lost) else None)
    return answer, "; ".join(shown) + prices.rest


def _rate(read: Reader, row: str) -> float:
    """Bans per honest query, as flags over the flags that close an account: few images make no whole ban."""
    (flagged,) = read.fields("flag_rate", "ix", row, FPR)
    (quota,) = read.fields("flags_to_ban", "ix", row, FPR)
    return float(flagged / quota)


def _but_outlier(read: Reader) -> Rows[str, float]:
    rows = [row for row in read.rows("ix", FPR) if row in read.world.query_sets and row != OUTLIER]
    return rows_of(rows, lambda row: _rate(read, row))


@CLAIMS.add("fpr-held", "Table IX, §VIII-A2")
def _fpr_held(read: Reader) -> Finding:
    """On every set honest users are banned at 0.01% of queries, give or take 0.003% (SVHN, of which the
    paper's own table contradicts it, is left out).
    """
    return _but_outlier(read).finding(
        lambda rate: not exceeds(rate, MOST_FPR) and not exceeds(LEAST_FPR, rate),
        lambda row, rate: f"{row} {rate:.4%}",
    )


def _has_svhn(world: World) -> str:
    found = world.query_sets.get(OUTLIER)
    return "" if found is not None and found.benign else "there is no SVHN in this world"


@CLAIMS.add("svhn-fpr-higher", "Table IX", _has_svhn)
def _svhn_higher(read: Reader) -> Finding:
    """On SVHN honest users are banned most."""
    svhn, others = _rate(read, OUTLIER), _but_outlier(read)
    printed = rows_of(others.found, lambda row: read.figure("ix", row, FPR).mean)
    whole = read.figure("ix", OUTLIER, FPR).mean
    by_flags = others.every(lambda rate: exceeds(svhn, rate))
    by_bans = every(exceeds(whole, rate) for rate in printed.found.values())
    highest = others.least(lambda rate: -rate)
    shown = f"SVHN {svhn:.4%}, next {highest} {others.found[highest]:.4%}"
    banned = f"in whole bans {whole:.3%} and {max(printed.found.values()):.3%} at most"
    # of few images there is no whole ban: flags must agree with the bans that the table prints
    return by_flags if by_flags == by_bans else None, f"{shown}; {banned}{others.rest}"
