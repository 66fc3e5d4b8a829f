"""Tables X to XII: Jacobian-based thieves who know the similarity detector (§VIII-A3).

Transforms follow the paper's words (`corrected`); tables show what its code makes of them beside.
"""

from dataclasses import dataclass, replace

from redhanded.experiments.claims.base import Claims, Finding
from redhanded.experiments.claims.reader import Reader, lacking, rows_of
from redhanded.experiments.claims.sample import (
    KEPT,
    POINT,
    Answer,
    Pair,
    bans,
    every,
    exceeds,
    if_so,
    percent,
)
from redhanded.experiments.claims.similarity import beside_floor
from redhanded.experiments.tables.adaptive import BLINDING, FULL_CINIC10
from redhanded.experiments.tables.base import ACCOUNTS
from redhanded.experiments.worlds.world import World

NONE, FILTERING = "none", "filtering"
ALL = (NONE, FILTERING, *BLINDING)
"""What a thief may do; to do nothing keeps its accuracy, so that there is always a price to compare."""
LOUD = ("brightness", "contrast", "uniform", "gaussian")
"""Blindings that raise the accounts."""
QUIET = ("scale", "translate")
SAME = 0.9
"""Share of the accounts below which an adaptation lowers them; accounts vary by about that much."""
FIFTH = 0.25
"""The introduction's 0.19, where both prices may be 15% off."""
PAPER_BUDGET, PAPER_ACCOUNTS = 50_000, 8.0
THIEVES = {"x": "JB-top3", "xi": "JBA-PGD", "xii": "JB-top3, the close set"}
CLAIMS = Claims()


@dataclass(frozen=True)
class Beside:
    """An adaptation beside another one, or beside none, of the seeds that both have measured."""

    price: Pair
    accuracy: Pair

    def keeps(self, by: float = KEPT) -> Answer:
        """Whether it steals about as well as the other."""
        return self.accuracy.keeps(by)

    def written(self, name: str, other: str = NONE) -> str:
        prices, shares = self.price, self.accuracy
        ours = f"{name} {bans(prices.one)} at {percent(shares.one)}"
        return f"{ours}, {other} {bans(prices.other)} at {percent(shares.other)} of {prices.one.seeds}"


def _place(name: str) -> str:
    return f"{name}, corrected" if name in BLINDING else name


def _beside(read: Reader, table: str, name: str, other: str = NONE) -> Beside:
    places = _place(name), _place(other)
    return Beside(read.prices(table, *places), read.pair(table, *places))


@CLAIMS.add("filtering-best-{table}", "Table {TABLE}, §VIII-A3", tables=THIEVES)
def _filtering_best(read: Reader, table: str) -> Finding:
    """Filtering with own data pays the fewest accounts of the adaptations that cost at most 3 points of
    accuracy ({of}).
    """

    def rival(name: str) -> tuple[Answer, Pair]:
        """Whether it is an alternative, and its price beside filtering's."""
        return _beside(read, table, name).keeps(), read.prices(table, _place(name), FILTERING)

    filtered = _beside(read, table, FILTERING)
    rivals = rows_of([name for name in ALL if name != FILTERING], rival)
    dearer = [if_so(keeps, pair.beats()) for keeps, pair in rivals.found.values()]
    holds = rivals.settled(every([filtered.keeps(), *dearer]))
    prices = {name: pair for name, (keeps, pair) in rivals.found.items() if keeps is not False}
    second = min(prices, key=lambda name: prices[name].gain)
    next_to = prices[second].written(f"next {second}", FILTERING, bans)
    floor = f"floor {bans(read.floor(table, FILTERING))}"
    return holds, f"{filtered.written(FILTERING)}; {next_to}; {floor}{rivals.rest}"


@CLAIMS.add("filtering-fifth", "Table X, §I")
def _filtering_fifth(read: Reader) -> Finding:
    """Filtering with own data pays about a fifth of JB-top3's accounts (0.19 times; at most 0.25)."""
    pair = read.prices("x", FILTERING, NONE)
    figures = f"filtering {bans(pair.one)}, none {bans(pair.other)} of {pair.one.seeds}"
    return replace(pair.turned, one=pair.other.times(FIFTH)).keeps(), figures


@CLAIMS.add("noise-and-colour-raise", "Table X")
def _loud_raise(read: Reader) -> Finding:
    """Brightness, contrast, uniform and Gaussian noise raise the accounts of JB-top3."""
    pairs = rows_of(LOUD, lambda name: read.prices("x", _place(name), NONE))
    return pairs.finding(Pair.beats, lambda name, pair: pair.written(name, NONE, bans), "; ")


@CLAIMS.add("scale-translate-lower", "Table X, §VIII-A3")
def _quiet_lower(read: Reader) -> Finding:
    """Scaling and translating lower the accounts of JB-top3 and cost at most 3 points."""
    found = rows_of(QUIET, lambda name: _beside(read, "x", name))
    return found.finding(
        lambda one: every((one.keeps(), one.price.trails())), lambda name, one: one.written(name), "; "
    )


@CLAIMS.add("scale-best-blinding", "Table X, §VIII-A3")
def _scale_best(read: Reader) -> Finding:
    """Of the blindings that cost JB-top3 at most a point, scaling pays the fewest accounts."""
    # Only by a strict reading of "not losing extraction accuracy too much": Table X prints 28 accounts for
    # scaling, which loses one point, and 19 for translating, which loses two, a breach by the spread of a
    # point, so that the paper's own figures cannot tell.

    def rival(name: str) -> tuple[Beside, Pair]:
        return _beside(read, "x", name), read.prices("x", _place(name), _place("scale"))

    ours = _beside(read, "x", "scale")
    rivals = rows_of([name for name in BLINDING if name != "scale"], rival)
    dearer = [if_so(one.keeps(POINT), pair.beats()) for one, pair in rivals.found.values()]
    holds = rivals.settled(every([ours.keeps(POINT), ours.price.trails(), *dearer]))
    shown = [
        one.written(name) + (" (too inaccurate)" if one.keeps(POINT) is False else pair.doubt)
        for name, (one, pair) in rivals.found.items()
        if pair.beats() is not True
    ]
    return holds, "; ".join([ours.written("scale"), *(shown or ["nothing cheaper"])]) + rivals.rest


@CLAIMS.add("auto-encoder-costs", "Table X, §VIII-A3")
def _autoencoder(read: Reader) -> Finding:
    """The auto-encoder lowers the accounts of JB-top3 more than scaling, and costs more than 3 points."""
    found = rows_of((NONE, "scale"), lambda other: _beside(read, "x", "auto-encoder", other))
    plain = found.found.get(NONE)
    lowers = [one.price.trails() for one in found.found.values()]
    holds = found.settled(every([*lowers, plain is None or plain.accuracy.trails(KEPT)]))
    shown = "; ".join(one.written("auto-encoder", other) for other, one in found.found.items())
    return holds, f"{shown}{found.rest}"


@CLAIMS.add("contrast-costs", "Table X")
def _contrast(read: Reader) -> Finding:
    """Contrast costs JB-top3 more than 3 points."""
    one = _beside(read, "x", "contrast")
    return one.accuracy.trails(KEPT), one.written("contrast")


@dataclass(frozen=True)
class Price:
    """What a thief pays, and an honest user; whether the thief is worth the comparison."""

    beside_floor: Pair
    keeps: Answer

    @property
    def bans(self) -> float:
        return self.beside_floor.one.mean


def _price(read: Reader, table: str, name: str) -> Price:
    keeps = True if name == NONE else _beside(read, table, name).keeps()
    return Price(read.beside_floor(table, _place(name)), keeps)


@CLAIMS.add("robust-{table}", "Table {TABLE}, §VIII-A3, §IX", tables=THIEVES)
def _above_floor(read: Reader, table: str) -> Finding:
    """With each of the adaptations that cost at most 3 points of accuracy ({of}), and with none, a thief pays
    more accounts than an honest user (over 2 bans more).
    """
    prices = rows_of(ALL, lambda name: _price(read, table, name))
    holds = prices.every(lambda price: if_so(price.keeps, price.beside_floor.beats()))
    kept = {name: price for name, price in prices.found.items() if price.keeps is not False}
    least = min(kept, key=lambda name: kept[name].bans)
    return holds, f"least {least} {beside_floor(kept[least].beside_floor)}{prices.rest}"


def _paper_budget(world: World) -> str:
    budget = world.adaptive_queries
    if budget >= PAPER_BUDGET:
        return ""
    scaled = PAPER_ACCOUNTS * budget / PAPER_BUDGET
    return f"8 accounts belong to {PAPER_BUDGET:,} queries; of {budget:,} they would be {scaled:.1f}"


@CLAIMS.add("eight-accounts", "Tables X to XII, §I", _paper_budget)
def _eight_accounts(read: Reader) -> Finding:
    """Each of the adaptations that cost at most 3 points of accuracy pays at least 8 accounts for 50,000
    queries.
    """
    places = [(table, name) for table in ("x", "xi", "xii") for name in ALL]
    prices = rows_of(places, lambda place: _price(read, *place))
    holds = prices.every(lambda price: if_so(price.keeps, not exceeds(PAPER_ACCOUNTS, price.bans)))
    kept = {place: price.bans for place, price in prices.found.items() if price.keeps is not False}
    table, name = least = min(kept, key=lambda place: kept[place])
    return holds, f"least {name} {bans(kept[least])} in Table {table.upper()}{prices.rest}"


def no_fewer(pair: Pair) -> Answer:
    """Whether an adaptation does not lower the accounts, but for what they vary by."""
    return pair.keeps((1 - SAME) * pair.other.mean)


def no_foreign_filter(world: World, table: str = "xiii") -> str:
    """Return why a world has no filter trained on all of CINIC-10."""
    return lacking(table, FULL_CINIC10, ACCOUNTS, world)


@CLAIMS.add("foreign-filter-fails-{table}", "Table {TABLE}, §VIII-A3", no_foreign_filter, tables=THIEVES)
def _foreign_filter(read: Reader, table: str) -> Finding:
    """A filter trained on all of CINIC-10 does not lower the accounts by over a tenth ({of})."""
    pair = read.prices(table, FULL_CINIC10, NONE)
    return no_fewer(pair), f"none {bans(pair.other)}, filtering {bans(pair.one)} of {pair.one.seeds}"
