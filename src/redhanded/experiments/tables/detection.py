"""Tables VII to IX, XIV and XV: the two detectors and what they cost honest users (§VIII)."""

from redhanded.experiments.cells import Detect, Honest, Tune, Watched
from redhanded.experiments.tables.base import ACCOUNTS, ACCURACY, FPR, Entry, Table
from redhanded.experiments.tables.extraction import ATTACKS, JB_TOP3, JBA_BS, JBA_CW, JBA_PGD
from redhanded.experiments.worlds.detectors import DETECTORS
from redhanded.experiments.worlds.world import World
from redhanded.lab.encoders.similarity import Loss

HELD_OUT = "held out"
"""The row of an honest stream that tuned nothing and is no row of the paper's."""


def detection(world: World, attack: str, seed: int = 0, loss: Loss = "per-pair") -> Detect | Watched:
    """The attack from many seeds, before a similarity detector."""
    (cell,) = world.detected(world.extract(attack, world.n_seed_large, seed), (world.honest_user(loss),))
    return cell


def table_vii(world: World) -> Table:
    """Accounts that the similarity detector makes each attack pay, with either loss of its encoder."""
    figures = {JB_TOP3: (59.0, 0.87), JBA_PGD: (21.0, 0.87), JBA_CW: (126.0, 0.85), JBA_BS: (765.0, 0.85)}
    losses: tuple[Loss, ...] = ("per-pair", "released")
    entries = []
    for loss in losses:
        for row, (accounts, accuracy) in figures.items():
            seeds = world.seeds if row in {JB_TOP3, JBA_PGD} else world.seeds[:1]
            cells = tuple(detection(world, ATTACKS[row], seed, loss) for seed in seeds)
            title = f"{row}, {loss} loss"
            entries.append(Entry(title, ACCOUNTS, cells, "bans", accounts))
            # the detector does not change what the thief learns
            entries.append(Entry(title, ACCURACY, cells, "accuracy", accuracy))
    return Table("vii", "Similarity-based detector against JBAs", tuple(entries))


def table_viii(world: World) -> Table:
    """The same with seeds of other sets."""
    figures = {
        "CIFAR10": ((59.0, 0.87), (21.0, 0.87)),
        "TinyImageNet": ((96.0, 0.78), (25.0, 0.78)),
        "ImageNet1k": ((90.0, 0.78), (24.0, 0.78)),
        "CIFAR100": ((101.0, 0.78), (26.0, 0.78)),
        "SVHN": ((221.0, 0.40), (43.0, 0.43)),
        "CINIC10": ((54.0, 0.84), (18.0, 0.84)),
        "Indoor67": ((90.0, 0.70), (25.0, 0.71)),
        "CUBS200": ((94.0, 0.46), (24.0, 0.54)),
        "Caltech256": ((73.0, 0.77), (16.0, 0.77)),
    }
    entries = []
    for row, query_set in world.query_sets.items():
        lacking = query_set.lacks(world.n_seed_large)
        for attack, printed in zip((JB_TOP3, JBA_PGD), figures.get(row, (None, None)), strict=True):
            accounts, accuracy = printed or (None, None)
            cells: tuple[Detect, ...] = ()
            if not lacking:
                stolen = world.extract(
                    ATTACKS[attack], world.n_seed_large, world.seeds[0], query_set=query_set.data
                )
                cells = (Detect(world.calibrate(), stolen, world.honest_user()),)
            entries += [
                Entry(row, f"{ACCOUNTS}, {attack}", cells, "bans", accounts, note=lacking),
                Entry(row, f"{ACCURACY}, {attack}", cells, "accuracy", accuracy, note=lacking),
            ]
    return Table("viii", "Similarity-based detector by query set", tuple(entries))


def table_ix(world: World) -> Table:
    """Bans of honest users who send every image of a set."""
    figures = {
        "CIFAR10": 0.00008,
        "TinyImageNet": 0.00008,
        "ImageNet1k": 0.00011,
        "CIFAR100": 0.00007,
        "SVHN": 0.0006,
        "CINIC10": 0.00011,
        "Indoor67": 0.00013,
        "CUBS200": 0.00008,
        "Caltech256": 0.00007,
    }
    streams = {row: (query_set.benign, query_set.absent) for row, query_set in world.query_sets.items()}
    if world.honest not in [benign for benign, _ in streams.values()]:
        streams[HELD_OUT] = (world.honest, "")
    entries = tuple(
        Entry(
            row,
            FPR,
            (Honest(world.calibrate(), benign),) if benign else (),
            "fpr",
            figures.get(row),
            note=absent,
        )
        for row, (benign, absent) in streams.items()
    )
    return Table("ix", "False-positive rate of the similarity-based detector", entries)


def likelihood(world: World) -> Tune:
    """The paper's likelihood detector, tuned as every detector of the comparison."""
    return Tune(world.name, DETECTORS["vae"](world), world.judging.common)


def table_xiv(world: World) -> Table:
    """Accounts that JB-top3 uses before the likelihood detector; the paper counts the one left open."""
    figures = {
        "CIFAR10": 122.0,
        "TinyImageNet": 573.0,
        "ImageNet1k": 1.0,
        "CIFAR100": 514.0,
        "SVHN": 1.0,
        "CINIC10": 304.0,
        "Indoor67": 673.0,
        "CUBS200": 1.0,
        "Caltech256": 1.0,
    }
    tuned = likelihood(world)
    honest = Honest(tuned, world.judging.heldout)
    entries = []
    for row, query_set in world.query_sets.items():
        lacking = query_set.lacks(world.n_seed_large)
        cells: tuple[Detect, ...] = ()
        if not lacking:
            stolen = world.extract("jb-top3", world.n_seed_large, world.seeds[0], query_set=query_set.data)
            cells = (Detect(tuned, stolen, honest),)
        entries.append(Entry(row, ACCOUNTS, cells, "accounts_used", figures.get(row), note=lacking))
    return Table("xiv", "Likelihood-based detector against JB-top3", tuple(entries))


def table_xv(world: World) -> Table:
    """Bans of honest users by the likelihood detector."""
    figures = {
        "CIFAR10": 0.0001,
        "TinyImageNet": 0.0145,
        "ImageNet1k": 0.0,
        "CIFAR100": 0.0118,
        "SVHN": 0.0,
        "CINIC10": 0.0017,
        "Indoor67": 0.0146,
        "CUBS200": 0.0,
        "Caltech256": 0.00003,
    }
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
