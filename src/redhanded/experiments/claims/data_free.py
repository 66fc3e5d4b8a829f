"""Table XIII: data-free thieves, and those of them who know the similarity detector (§VIII-A3).

Their accounts are bans as they are: there are enough of them.
"""

from dataclasses import replace

from redhanded.experiments.claims.adaptive import NONE, no_fewer, no_foreign_filter
from redhanded.experiments.claims.base import Claims, Finding
from redhanded.experiments.claims.reader import Reader, rows_of
from redhanded.experiments.claims.sample import NEAR_FLOOR, Pair, bans, every
from redhanded.experiments.claims.similarity import beside_floor, far_above
from redhanded.experiments.tables.adaptive import BLINDING, FULL_CINIC10
from redhanded.experiments.tables.base import ACCOUNTS

DOUBLED = (1.5, 2.5)
"""Times that are nearer to twice than to once or three times."""
CLAIMS = Claims()


@CLAIMS.add("dfme-caught", "Table XIII, §VIII-A3")
def _caught(read: Reader) -> Finding:
    """DFME pays far more accounts than an honest user (over 3 times, and over 2 bans more)."""
    pair = Pair(read.figure("xiii", NONE, ACCOUNTS), read.floor("xiii", NONE), NEAR_FLOOR)
    return far_above(pair), beside_floor(pair)


def _beside_plain(read: Reader, row: str) -> Pair:
    return replace(read.pair("xiii", row, NONE, ACCOUNTS), least=NEAR_FLOOR)


@CLAIMS.add("dfme-filtering-fails", "Table XIII, §VIII-A3", no_foreign_filter)
def _filtering_fails(read: Reader) -> Finding:
    """A filter trained on all of CINIC-10 does not lower DFME's accounts by over a tenth."""
    pair = _beside_plain(read, FULL_CINIC10)
    return no_fewer(pair), f"none {bans(pair.other)}, filtering {bans(pair.one)}"


@CLAIMS.add("dfme-filtering-doubles", "Table XIII, §VIII-A3", no_foreign_filter)
def _filtering_doubles(read: Reader) -> Finding:
    """A filter trained on all of CINIC-10 roughly doubles DFME's accounts (1.5 to 2.5 times)."""
    pair = _beside_plain(read, FULL_CINIC10)
    low, high = (replace(pair, other=pair.other.times(times)) for times in DOUBLED)
    doubled = every((low.keeps(), high.turned.keeps()))
    return doubled, f"none {bans(pair.other)}, filtering {bans(pair.one)}"


@CLAIMS.add("dfme-blinding-fails", "Table XIII, §VIII-A3")
def _blinding_fails(read: Reader) -> Finding:
    """No blinding lowers DFME's accounts (by over a tenth)."""
    rows = [row for row in read.rows("xiii", ACCOUNTS) if row in BLINDING]
    pairs = rows_of(rows, lambda row: _beside_plain(read, row))
    holds, shown = pairs.finding(no_fewer, lambda row, pair: f"{row} {bans(pair.one)}")
    return holds, f"none {bans(read.figure('xiii', NONE, ACCOUNTS))}, {shown}"
