"""Tables IV to VI: what the query set is worth (§IV-C)."""

from collections.abc import Mapping

from redhanded.experiments.claims.base import Claims, Finding
from redhanded.experiments.claims.reader import Reader, lacking, rows_of
from redhanded.experiments.claims.sample import POINT, Pair, every, listed, percent, points, together
from redhanded.experiments.tables.extraction import JB_TOP3, JBA_PGD
from redhanded.experiments.worlds.world import World

RS = "RS"
LOW = ("SVHN", "Indoor67", "CUBS200", "photos")
"""Sets with too little of the victim's task: the paper's three, and photographs without a digit."""
DECENT = ("TinyImageNet", "ImageNet1k", "CIFAR100", "CINIC10", "Caltech256", "other-digits", "grey-digits")
BOTTOM = ("SVHN", "photos")
"""The set at the lower end of the ranking, and what takes its place in the demo world.

§IV-C ranks from SVHN up (Table IV prints CUBS200 a point lower in two columns). It explains the lower end, up
to CIFAR100, by size and complexity, and by likeness to the victim's images only the step from ImageNet1k to
CIFAR10. That photographs, the least like the demo world's digits, belong at the bottom is our reading of the
section's takeaway.
"""
MOST = 0.23
"""The introduction's; §IV-C says 21 points, but Table V prints CUBS200 with 31% and 54%."""
BOTH = (JB_TOP3, JBA_PGD)
SEEDS = {"iv": "few", "v": "many"}
CLAIMS = Claims()


def _beside_seeds(read: Reader, table: str, row: str, attack: str) -> Pair:
    """What an attack steals with a set, and what sampling its seeds alone does."""
    return Pair(read.figure(table, row, attack), read.figure(table, row, RS))


def _best_of_set(read: Reader, table: str, row: str) -> Pair:
    return max((_beside_seeds(read, table, row, attack) for attack in BOTH), key=lambda pair: pair.gain)


@CLAIMS.add("pgd-beats-seeds-{of}", "Table {TABLE}, §IV-C, §IX", tables=SEEDS)
def _pgd_beats_seeds(read: Reader, table: str) -> Finding:
    """From {of} seeds of any set, JBA-PGD ends more than a point above sampling the seeds alone."""
    pairs = rows_of(read.rows(table, RS), lambda row: _beside_seeds(read, table, row, JBA_PGD))
    holds = pairs.every(Pair.beats)
    least = pairs.least(lambda pair: pair.gain)
    shown = f"least {points(pairs.found[least].gain)} with {least}, sets: {len(pairs.found)}"
    return holds, f"{shown}{pairs.rest}"


@CLAIMS.add("gain-by-set", "Tables IV and V, §I, §IV-C")
def _gain_range(read: Reader) -> Finding:
    """Depending on set and seeds the better JBA adds 2 to 23 points (1 to 24 with tolerance)."""
    settings = [(table, row) for table in ("iv", "v") for row in read.rows(table, RS)]
    gains = rows_of(settings, lambda setting: _best_of_set(read, *setting))
    holds = gains.every(lambda pair: every((pair.beats(), pair.turned.keeps(MOST + POINT))))
    found = [pair.gain for pair in gains.found.values()]
    shown = f"{points(min(found))} to {points(max(found))} points over {len(found)} settings"
    return holds, f"{shown}{gains.rest}"


@CLAIMS.add("gain-larger-with-few", "Tables IV and V, §I, §IX")
def _more_with_few(read: Reader) -> Finding:
    """Over all sets, the better JBA adds more with few seeds than with many."""
    more = read.rows("v", RS)
    both = [row for row in read.rows("iv", RS) if row in more]
    few, many = (
        together([_best_of_set(read, table, row).difference for row in both]) for table in ("iv", "v")
    )
    figures = (
        f"mean gain over {len(both)} sets {points(few.mean)} with few seeds, {points(many.mean)} with many"
    )
    return Pair(few, many).beats(), f"{figures}{Pair(few, many).doubt}"


def _close_set(world: World, table: str) -> str:
    return lacking(table, world.close_set, JBA_PGD, world)


@CLAIMS.add("likeness-ranks-{of}", "Table {TABLE}, Figures 7 and 8, §IV-C, §IX", _close_set, tables=SEEDS)
def _likeness(read: Reader, table: str) -> Finding:
    """With {of} seeds the victim's own set steals best and the set most like it next, a point apart."""
    own, close = next(iter(read.world.query_sets)), read.world.close_set
    sets = rows_of(read.rows(table, JBA_PGD), lambda row: read.figure(table, row, JBA_PGD))
    found = sets.found
    rest = [row for row in found if row not in (own, close)]
    order = [(own, close), *((better, row) for better in (own, close) for row in rest)]
    holds = sets.settled(
        every(
            Pair(found[better], found[row]).beats() for better, row in order if {better, row} <= found.keys()
        )
    )
    shown = [row for row in (own, close) if row in found] + sorted(rest, key=lambda row: -found[row].mean)[:1]
    return holds, listed(f"{row} {percent(found[row])}" for row in shown) + sets.rest


def _has_bottom(world: World) -> str:
    seeds = world.n_seed_small
    found = [row for row in BOTTOM if row in world.query_sets and not world.query_sets[row].lacks(seeds)]
    return "" if found else f"neither {' nor '.join(BOTTOM)} can be had here"


@CLAIMS.add("bottom-set-lowest", "Table IV, Figure 7, §IV-C", _has_bottom)
def _bottom(read: Reader) -> Finding:
    """The set at the bottom of the ranking (SVHN; the demo's photographs) is the worst to steal with,
    within a point.
    """
    name = next(row for row in read.rows("iv", RS) if row in BOTTOM)
    places = [(column, row) for column in (RS, *BOTH) for row in read.rows("iv", column) if row != name]

    def above(place: tuple[str, str]) -> Pair:
        column, row = place
        return Pair(read.figure("iv", row, column), read.figure("iv", name, column))

    sets = rows_of(places, above)
    holds = sets.every(lambda pair: pair.keeps(POINT))
    shown = []
    for column in dict.fromkeys(column for column, _ in sets.found):
        lowest = min(
            (place for place in sets.found if place[0] == column),
            key=lambda place: sets.found[place].one.mean,
        )
        pair = sets.found[lowest]
        shown.append(f"{column} {percent(pair.other)}, lowest other {lowest[1]} {percent(pair.one)}")
    return holds, f"{name}: " + "; ".join(shown) + sets.rest


def at_hand(world: World, names: tuple[str, ...]) -> list[str]:
    """Those of `names` that hold as many images as there are seeds."""
    seeds = world.n_seed_large
    return [row for row, found in world.query_sets.items() if row in names and not found.lacks(seeds)]


def _whole(world: World) -> list[str]:
    """Decent sets that fill the whole budget."""
    return [row for row in at_hand(world, DECENT) if world.query_sets[row].images >= world.budget]


def _pool_and_jba(read: Reader, place: tuple[str, str]) -> Pair:
    """What random sampling of a set steals with the whole budget, and what a JBA does with its seeds."""
    row, attack = place
    return Pair(read.figure("vi", row, RS), read.figure("v", row, attack))


def _beside_pool(world: World, found: Mapping[tuple[str, str], Pair]) -> str:
    """Write each set's figures; where the set has fewer images than the budget, how many were sent."""
    shown = []
    for row in dict.fromkeys(row for row, _ in found):
        images = world.query_sets[row].images
        sent = f" of {images:,} images" if images < world.budget else ""
        pool = next(pair.one for (name, _), pair in found.items() if name == row)
        jbas = [f"{attack} {percent(pair.other)}" for (name, attack), pair in found.items() if name == row]
        shown.append(f"{row}: RS{sent} {percent(pool)}, {listed(jbas)}")
    return "; ".join(shown)


def _has_low(world: World) -> str:
    return "" if at_hand(world, LOW) else f"no low-quality set holds {world.n_seed_large:,} images here"


@CLAIMS.add("low-quality-jba-wins", "Tables V and VI, §IV-C", _has_low)
def _jbas_beat_pool(read: Reader) -> Finding:
    """With sets of low quality both JBAs beat random sampling of the whole budget, or of all the images
    there are, by over a point.
    """
    places = [(row, attack) for row in at_hand(read.world, LOW) for attack in BOTH]
    sets = rows_of(places, lambda place: _pool_and_jba(read, place))
    holds = sets.every(Pair.trails)
    return holds, f"{_beside_pool(read.world, sets.found)}{sets.rest}"


def _has_whole(world: World) -> str:
    return "" if _whole(world) else f"no decent set holds {world.budget:,} images here"


@CLAIMS.add("decent-quality-rs-wins", "Tables V and VI, §IV-C", _has_whole)
def _pool_beats_jbas(read: Reader) -> Finding:
    """With decent sets that fill the budget random sampling beats both JBAs by over a point."""
    places = [(row, attack) for row in _whole(read.world) for attack in BOTH]
    sets = rows_of(places, lambda place: _pool_and_jba(read, place))
    holds = sets.every(Pair.beats)
    return holds, f"{_beside_pool(read.world, sets.found)}{sets.rest}"
