"""`redhanded evade`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from rich.table import Table
from typer import Argument, Option

from redhanded.commands import options
from redhanded.detectors import load_bundle
from redhanded.detectors.bundle import read_manifest
from redhanded.errors import RedhandedError
from redhanded.experiments.tables.evasion import (
    ORDERS,
    POLICIES,
    Attempt,
    attempts,
    cheapest,
    honest_floor,
    thefts,
)
from redhanded.experiments.worlds.adaptations import ADAPTATIONS
from redhanded.experiments.worlds.attacks import ATTACKS
from redhanded.experiments.worlds.world import LOGGED
from redhanded.lab.types import Order


def evade(
    name: Annotated[str, Argument(help=f"The attack: {', '.join(ATTACKS)}.")],
    detector: Annotated[Path, Option(help="Bundle of the detector to evade.")],
    world: options.WorldName = "demo",
    budget: Annotated[
        int | None, Option(help="Queries of each theft; by default ten per seed of the world's few.")
    ] = None,
    accuracy: Annotated[
        float | None,
        Option(help="What the clone must reach, 0 to 1; by default the plain attack's less 2 points."),
    ] = None,
    adaptations: Annotated[str | None, options.several_of(ADAPTATIONS)] = None,
    orders: Annotated[str | None, options.several_of(ORDERS)] = None,
    policies: Annotated[str | None, options.several_of(POLICIES)] = None,
    seed: Annotated[int, options.seed("the thefts")] = 0,
    out: options.Out = None,
    artefacts: options.Artefacts = options.ARTEFACTS,
    device: options.DeviceName = "cpu",
    engine: options.EngineName = "local",
    jobs: options.Jobs = None,
    as_json: options.Json = False,
) -> None:
    """Price a theft by a thief who knows the detector: the fewest accounts that reach an accuracy.

    Every adaptation (query blinding, query filtering) is a theft of its own; each is replayed in every query
    order and under every account policy, which cost the thief nothing. What was stolen before is not stolen
    again.
    """
    chosen_world = options.world_named(world)
    options.chosen(ATTACKS, name, "attack")
    wanted = options.several(ADAPTATIONS, adaptations, "adaptations")
    sent_in = [options.ORDERS[order] for order in options.several(ORDERS, orders, "orders")]
    behaving = options.several(POLICIES, policies, "policies")
    if accuracy is not None and not 0 <= accuracy <= 1:
        raise RedhandedError(f"accuracy: {accuracy} must lie between 0 and 1")
    if accuracy is None and "none" not in wanted:
        raise RedhandedError("accuracy: without the adaptation `none` nothing tells what is enough; give it")
    budget = 10 * chosen_world.n_seed_small if budget is None else budget
    if budget < chosen_world.n_seed_small:
        raise RedhandedError(f"budget: {budget} queries cannot hold {chosen_world.n_seed_small} seeds")
    if budget > LOGGED:
        raise RedhandedError(f"budget: a theft is replayed from its log, of {LOGGED:,} queries at most")
    judge = load_bundle(detector)
    context = options.context_of(out or Path("runs") / chosen_world.name, artefacts, device)
    stolen = thefts(chosen_world, name.lower(), wanted, budget, seed)
    options.measure(list(stolen.values()), context, engine, jobs, artefacts=True)
    some = next(iter(stolen.values()))
    usual = some.attack.order
    sent_in = list(dict.fromkeys([usual, *sent_in]))
    with context.reporter("embedding honest images") as progress:
        floor = honest_floor(chosen_world, judge, some, context, progress)
    with context.reporter("replaying") as progress:
        tried = list(attempts(stolen, judge, sent_in, behaving, floor, context, progress))
    bar = accuracy
    if bar is None:
        bar = next(attempt.accuracy for attempt in tried if attempt.adaptation == "none") - 0.02
    best = cheapest(tried, bar)
    data = {
        "attack": name.lower(),
        "detector": read_manifest(detector)["detector"],
        "accuracy": bar,
        "cheapest": None if best is None else asdict(best),
        "benign_floor": None if best is None else best.benign_floor,
        "attempts": [asdict(attempt) for attempt in tried],
    }
    options.say([_table(tried, usual, bar), _answer(best, bar)], data, as_json=as_json)


def _table(tried: list[Attempt], usual: Order, bar: float) -> Table:
    """Return the cheapest order and policy of every adaptation, cheapest first."""
    rows = []
    for adaptation in dict.fromkeys(attempt.adaptation for attempt in tried):
        own = {(one.order, one.policy): one for one in tried if one.adaptation == adaptation}
        if (best := cheapest(list(own.values()), 0.0)) is not None:
            rows.append((best, own.get((usual, "one until banned"))))
    figures = ("accuracy", "queries", "plain accounts", "accounts", "bans", "floor")
    table = options.sheet(
        "The cheapest order and policy of every adaptation",
        ("adaptation", *figures, "order", "policy"),
        f"Below {bar:.1%} a clone is not good enough. Plain: the attack's own order, one account until it is "
        "banned. Floor: the bans of as many held-out honest queries (~: scaled up).",
        left=("adaptation", "order", "policy"),
    )
    table.columns[0].no_wrap = True
    for attempt, simple in sorted(rows, key=lambda row: (row[0].accounts_used, row[0].flags)):
        enough = "" if attempt.accuracy >= bar else " (too low)"
        table.add_row(
            attempt.adaptation,
            f"{attempt.accuracy:.1%}{enough}",
            f"{attempt.queries:,}",
            "" if simple is None else str(simple.accounts_used),
            str(attempt.accounts_used),
            str(attempt.bans),
            _floor(attempt),
            attempt.order,
            attempt.policy,
        )
    return table


def _answer(best: Attempt | None, bar: float) -> str:
    if best is None:
        return f"Nothing reached {bar:.1%}: raise the budget or lower --accuracy."
    accounts = "1 account" if best.accounts_used == 1 else f"{best.accounts_used} accounts"
    return (
        f"Cost to steal {best.accuracy:.1%} (asked for {bar:.1%}): {accounts}, {best.queries:,} queries; "
        f"adaptation {best.adaptation}, order {best.order}, policy: {best.policy}. "
        f"Honest users lose {_floor(best)} accounts over as many queries."
    )


def _floor(attempt: Attempt) -> str:
    return f"{'~' if attempt.benign_floor_extrapolated else ''}{attempt.benign_floor:.2f}"
