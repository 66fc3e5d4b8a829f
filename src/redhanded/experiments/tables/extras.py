"""Two tables in the manner of the paper's: every attack, and output defences (§V-B, §V-C)."""

from dataclasses import replace

from redhanded.experiments.cells import defences
from redhanded.experiments.cells.utility import Utility
from redhanded.experiments.tables.base import ACCOUNTS, ACCURACY, Entry, Table
from redhanded.experiments.tables.detection import detection
from redhanded.experiments.worlds.attacks import ATTACKS as NAMES
from redhanded.experiments.worlds.world import World


def table_attacks(world: World) -> Table:
    """Every attack, at its own budget, beside random sampling from seeds and from the pool.

    The price is what the similarity detector asks for the same queries.
    """
    entries: list[Entry] = []
    for name in NAMES:
        cells = tuple(detection(world, name, seed) for seed in world.seeds)
        row = f"{name} ({cells[0].extraction.attack.budget:,})"
        entries += (Entry(row, ACCURACY, cells, "accuracy"), Entry(row, ACCOUNTS, cells, "bans"))
    return Table("attacks", "Every attack (queries)", tuple(entries))


def output_defences(world: World) -> tuple[defences.Defence, ...]:
    """The output defences that the paper names (§V-B, §V-C), and none."""
    training = world.judging.defender_training
    models = (world.train_victim(), world.judging.outside, world.surrogate, training)
    return (
        defences.Undefended(),
        defences.LabelOnly(),
        defences.Rounding(),
        defences.Truncation(),
        defences.Sigmoid(),
        defences.Poisoning(world.surrogate, world.classes),
        defences.Poisoning(world.surrogate, world.classes, "argmax"),
        defences.Misinformation(defences.TrainDefender(*models, "misinformation")),
        defences.Ensemble(defences.TrainDefender(*models, "ensemble")),
    )


def table_defences(world: World) -> Table:
    """What each output defence costs honest users, and leaves a thief with probabilities or labels."""
    entries = []
    for defence in output_defences(world):
        price = (Utility(world.train_victim(), defence),)
        entries.append(Entry(defence.title, "Served acc.", price, "accuracy"))
        entries.append(Entry(defence.title, "L1 change", price, "l1_mean"))
        for soft, column in ((True, f"{ACCURACY}, soft"), (False, f"{ACCURACY}, hard")):
            stolen = tuple(
                replace(world.extract("jba-pgd", world.n_seed_large, seed), defence=defence, soft=soft)
                for seed in world.seeds
            )
            entries.append(Entry(defence.title, column, stolen, "accuracy"))
    return Table("defences", "Output defences against JBA-PGD", tuple(entries))
