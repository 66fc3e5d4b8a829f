"""Tables VII to IX, XIV and XV: the two detectors and what they cost honest users (§VIII)."""

from functools import partial

from redhanded.experiments.cells import Detect, Honest, Tune, Watched
from redhanded.experiments.cells.datasets import Data
from redhanded.experiments.tables.base import ACCOUNTS, ACCURACY, FPR, Entry, Table, priced
from redhanded.experiments.tables.extraction import ATTACKS, JB_TOP3, JBA_BS, JBA_CW, JBA_PGD, stolen
from redhanded.experiments.tables.query_sets import Column, by_query_set, printed
from redhanded.experiments.worlds.detectors import DETECTORS
from redhanded.experiments.worlds.world import World
from redhanded.lab.encoders.similarity import Loss

HELD_OUT = "held out"
"""The row of an honest stream that tuned nothing and is no row of the paper's."""


def detection(world: World, attack: str, seed: int = 0, loss: Loss = "per-pair") -> Detect | Watched:
    """The attack from many seeds, before a similarity detector."""
    (cell,) = world.detected(world.extract(attack, world.n_seed_large, seed), (world.honest_user(loss),))
    return cell


def _replayed(world: World, row: str, honest: Honest, data: Data) -> Detect:
    """The theft of a row from many seeds of a set, before the honest user's detector."""
    theft = stolen(world, row, world.n_seed_large, world.seeds[0], data)
    return Detect(honest.calibration, theft, honest)


def table_vii(world: World) -> Table:
    """Accounts that the similarity detector makes each attack pay, with either loss of its encoder."""
    figures = {JB_TOP3: (59.0, 0.87), JBA_PGD: (21.0, 0.87), JBA_CW: (126.0, 0.85), JBA_BS: (765.0, 0.85)}
    losses: tuple[Loss, ...] = ("per-pair", "released")
    entries: list[Entry] = []
    for loss in losses:
        for row, published in figures.items():
            seeds = world.seeds if row in {JB_TOP3, JBA_PGD} else world.seeds[:1]
            cells = tuple(detection(world, ATTACKS[row], seed, loss) for seed in seeds)
            # the detector does not change what the thief learns
            entries += priced(f"{row}, {loss} loss", cells, published)
    return Table("vii", "Similarity-based detector against JBAs", tuple(entries))


def table_viii(world: World) -> Table:
    """The same with seeds of other sets."""
    figures = {
        JB_TOP3: (
            (59.0, 96.0, 90.0, 101.0, 221.0, 54.0, 90.0, 94.0, 73.0),
            (0.87, 0.78, 0.78, 0.78, 0.40, 0.84, 0.70, 0.46, 0.77),
        ),
        JBA_PGD: (
            (21.0, 25.0, 24.0, 26.0, 43.0, 18.0, 25.0, 24.0, 16.0),
            (0.87, 0.78, 0.78, 0.78, 0.43, 0.84, 0.71, 0.54, 0.77),
        ),
    }
    columns = []
    for attack, (accounts, accuracies) in figures.items():
        cell = partial(_replayed, world, attack, world.honest_user())
        columns.append(Column(f"{ACCOUNTS}, {attack}", "bans", accounts, cell))
        columns.append(Column(f"{ACCURACY}, {attack}", "accuracy", accuracies, cell))
    entries = by_query_set(world, world.n_seed_large, columns)
    return Table("viii", "Similarity-based detector by query set", entries)


def table_ix(world: World) -> Table:
    """Bans of honest users who send every image of a set."""
    figures = printed((0.00008, 0.00008, 0.00011, 0.00007, 0.0006, 0.00011, 0.00013, 0.00008, 0.00007))
    streams = {row: (query_set.benign, query_set.absent) for row, query_set in world.query_sets.items()}
    if world.honest not in [benign for benign, _ in streams.values()]:
        streams[HELD_OUT] = (world.honest, "")
    entries = []
    for row, (benign, absent) in streams.items():
        cells = (Honest(world.calibrate(), benign),) if benign else ()
        entries.append(Entry(row, FPR, cells, "fpr", figures.get(row), note=absent))
    return Table("ix", "False-positive rate of the similarity-based detector", tuple(entries))


def likelihood(world: World) -> Tune:
    """The paper's likelihood detector, tuned as every detector of the comparison."""
    return Tune(world.name, DETECTORS["vae"](world), world.judging.common)


def table_xiv(world: World) -> Table:
    """Accounts that JB-top3 uses before the likelihood detector; the paper counts the one left open."""
    cell = partial(_replayed, world, JB_TOP3, Honest(likelihood(world), world.judging.heldout))
    figures = (122.0, 573.0, 1.0, 514.0, 1.0, 304.0, 673.0, 1.0, 1.0)
    entries = by_query_set(world, world.n_seed_large, [Column(ACCOUNTS, "accounts_used", figures, cell)])
    return Table("xiv", "Likelihood-based detector against JB-top3", entries)


def table_xv(world: World) -> Table:
    """Bans of honest users by the likelihood detector."""
    figures = printed((0.0001, 0.0145, 0.0, 0.0118, 0.0, 0.0017, 0.0146, 0.0, 0.00003))
    tuned = likelihood(world)
    heldout = Honest(tuned, world.judging.heldout)
    own, *others = world.query_sets
    # of the victim's own set, what tuned nothing
    entries = [Entry(own, FPR, (heldout,), "fpr", figures.get(own), note="images that tuned nothing")]
    for row in others:
        query_set = world.query_sets[row]
        cells = (Honest(tuned, query_set.benign, beside=heldout),) if query_set.benign else ()
        entries.append(Entry(row, FPR, cells, "fpr", figures.get(row), note=query_set.absent))
    return Table("xv", "False-positive rate of the likelihood-based detector", tuple(entries))
