"""Table XIII: data-free thieves, and those of them who know the similarity detector (§VIII-A3).

Their accounts are bans as they are: there are enough of them.
"""

from functools import partial

from redhanded.experiments.claims.adaptive import NONE, no_fewer, no_foreign_filter
from redhanded.experiments.claims.base import Claim, Found
from redhanded.experiments.claims.reader import Pair, Reader, bans, listed, seen
from redhanded.experiments.claims.similarity import beside_floor, far_above
from redhanded.experiments.tables.adaptive import BLINDING, FULL_CINIC10
from redhanded.experiments.tables.base import ACCOUNTS

DOUBLED = (1.5, 2.5)
"""Times that are nearer to twice than to once or three times."""


def _caught(read: Reader) -> Found:
    price, floor = read.figure("xiii", NONE, ACCOUNTS).mean, read.floor("xiii", NONE)
    return far_above(price, floor), beside_floor(price, floor)


def _beside_plain(read: Reader, row: str) -> Pair:
    return read.pair("xiii", row, NONE, ACCOUNTS)


def _filtering_fails(read: Reader) -> Found:
    filtered, plain = pair = _beside_plain(read, FULL_CINIC10)
    return no_fewer(pair), f"none {bans(plain)}, filtering {bans(filtered)}"


def _filtering_doubles(read: Reader) -> Found:
    filtered, plain = _beside_plain(read, FULL_CINIC10)
    low, high = (times * plain.mean for times in DOUBLED)
    return low <= filtered.mean <= high, f"none {bans(plain)}, filtering {bans(filtered)}"


def _blinding_fails(read: Reader) -> Found:
    rows = [row for row in read.rows("xiii", ACCOUNTS) if row in BLINDING]
    pairs = seen(rows, lambda row: _beside_plain(read, row))
    shown = listed(f"{row} {bans(pair.one)}" for row, pair in pairs.found.items())
    return pairs.all(no_fewer), f"none {bans(read.figure('xiii', NONE, ACCOUNTS))}, {shown}{pairs.rest}"


CLAIMS = (
    Claim(
        "dfme-caught",
        "DFME pays far more accounts than an honest user (over 3 times, and over 2 bans more).",
        "Table XIII, §VIII-A3",
        _caught,
    ),
    Claim(
        "dfme-filtering-fails",
        "A filter trained on all of CINIC-10 does not lower DFME's accounts by over a tenth.",
        "Table XIII, §VIII-A3",
        _filtering_fails,
        partial(no_foreign_filter, table="xiii"),
    ),
    Claim(
        "dfme-filtering-doubles",
        "A filter trained on all of CINIC-10 roughly doubles DFME's accounts (1.5 to 2.5 times).",
        "Table XIII, §VIII-A3",
        _filtering_doubles,
        partial(no_foreign_filter, table="xiii"),
    ),
    Claim(
        "dfme-blinding-fails",
        "No blinding lowers DFME's accounts (by over a tenth).",
        "Table XIII, §VIII-A3",
        _blinding_fails,
    ),
)
