"""`redhanded attack`."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from rich.table import Table
from safetensors.torch import save_file
from torch import nn
from typer import Argument, Option

from redhanded.commands import options
from redhanded.commands.options import ORDERS
from redhanded.commands.target import Own, Target, own_target, world_target
from redhanded.detectors import load_bundle
from redhanded.errors import RedhandedError
from redhanded.experiments.cells import Extract
from redhanded.experiments.cells.extract import surrogates
from redhanded.experiments.measure.characterise import Characteriser
from redhanded.experiments.measure.querylog import LogWriter
from redhanded.experiments.measure.steal import Tally, steal
from redhanded.experiments.runner.context import Context
from redhanded.experiments.worlds.attacks import ATTACKS
from redhanded.experiments.worlds.world import LOGGED, World
from redhanded.guard import Guard
from redhanded.lab.oracles.recorded import Recorded
from redhanded.lab.oracles.victim import as_numpy
from redhanded.lab.sybil import SybilClient
from redhanded.lab.training import predict
from redhanded.lab.types import Oracle, Round


def attack(
    name: Annotated[str, Argument(help=f"{', '.join(ATTACKS)}.")],
    world: options.WorldName = "demo",
    budget: Annotated[int | None, Option(help="Queries it may send; default: the world's.")] = None,
    n_seed: Annotated[int | None, Option(help="Natural images it starts from; default: the world's.")] = None,
    guard: Annotated[
        Path | None, Option(help="Bundle of a calibrated detector to put in front of the victim.")
    ] = None,
    mode: options.ModeName = "paper",
    oracle: Annotated[
        str | None, Option(help="Your own target: an http(s) URL (see docs/oracle.md) or module:callable.")
    ] = None,
    images: Annotated[Path | None, Option(help="With --oracle: folder of the thief's images.")] = None,
    classes: Annotated[int | None, Option(help="With --oracle: number of classes it knows.")] = None,
    test: Annotated[
        Path | None, Option(help="With --oracle: folder of test images, one subfolder a class.")
    ] = None,
    rate: Annotated[float | None, Option(help="With an --oracle URL: images a second at most.")] = None,
    order: Annotated[
        str | None, Option(help=f"Order of a round's queries: {', '.join(ORDERS)}; default: its own.")
    ] = None,
    fidelity: Annotated[
        str, Option(help="corrected, or released: as the code behind the paper does it, seeds unbalanced.")
    ] = "corrected",
    initial: Annotated[
        str | None,
        Option(
            help="What surrogates start from: random, public (trained on a public set first) or imagenet "
            "(VGG16-BN, downloaded); default: the world's."
        ),
    ] = None,
    seed: Annotated[int, options.seed("everything random, the order included")] = 0,
    out: Annotated[
        Path | None,
        Option(help="Folder for the query log, the clone and the record; default runs/attack-NAME."),
    ] = None,
    artefacts: options.Artefacts = options.ARTEFACTS,
    device: options.DeviceName = "cpu",
    as_json: options.Json = False,
) -> None:
    """Steal a model with one attack, and print how good the clone is and what it cost.

    Without --oracle the target is the world's own victim, trained first if need be. With --guard the queries
    go through the guard, and the thief opens a new account whenever one is closed. If a target of your own
    fails half-way, its answers are kept: the same command goes on from them.
    """
    chosen_world, own = options.world_named(world), Own(oracle, images, classes, test, rate)
    settled = options.chosen(options.MODES, mode, "mode")
    own.check()
    if guard is None and settled != "paper":
        raise RedhandedError("guard: --mode is for a guarded target; give --guard as well")
    cell, known = _cell(chosen_world, name, budget, n_seed, fidelity, initial, order, seed)
    detector = None if guard is None else load_bundle(guard)
    context = options.context_of(Path("runs") / chosen_world.name, artefacts, device)
    folder = options.folder("out", out or Path("runs") / f"attack-{name}")
    target = world_target(cell, context) if oracle is None else own_target(cell, own, context)
    kept = None if oracle is None else Recorded(target.oracle, folder / "answers.npz")
    asked, client = target.oracle if kept is None else kept, None
    if detector is not None:
        client = SybilClient(Guard(as_numpy(asked, context.device), detector, mode=settled))
    logged = known["budget"] <= LOGGED
    try:
        # the log of a longer theft would fill a disk
        log = LogWriter(folder / "log") if logged else nullcontext(lambda part: None)  # noqa: ARG005
        clone, tally, traits = _theft(cell, target, client or asked, known["budget"], context, log)
    finally:
        if kept is not None:  # answers that were paid for outlive whatever went wrong
            kept.save()
    where = {"world": chosen_world.name if oracle is None else "own target"}
    record = _record(cell.name, clone, tally, client, target) | traits | where | known
    state = {name: tensor.cpu().contiguous() for name, tensor in clone.state_dict().items()}
    save_file(state, folder / "clone.safetensors")
    (folder / "record.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if kept is not None and logged:
        kept.path.unlink(missing_ok=True)  # the log holds them now
    options.say([_table(record)], record, as_json=as_json)
    what = "Query log, clone and record" if logged else f"Clone and record (no log above {LOGGED:,} queries)"
    options.tell(f"{what}: {folder}")


def _cell(
    world: World,
    name: str,
    budget: int | None,
    n_seed: int | None,
    fidelity: str,
    initial: str | None,
    order: str | None,
    seed: int,
) -> tuple[Extract, dict[str, Any]]:
    """Return the theft, and what its record says of the options, each of which is checked."""
    faithful = options.chosen(options.FIDELITIES, fidelity, "fidelity")
    options.chosen(ATTACKS, name, "attack")
    name = name.lower()
    budget = world.default_budget(name) if budget is None else budget
    if budget < 1:
        raise RedhandedError(f"budget: {budget} is not a number of queries above 0")
    n_seed = (budget if name == "random" else world.n_seed_large) if n_seed is None else n_seed
    cell = world.extract(name, n_seed, seed, budget=budget, fidelity=faithful)
    if initial is not None:
        cell = replace(cell, initial=world.initial_named(initial.lower()))
    if order is not None:
        sent = options.chosen(ORDERS, order, "order")
        cell = replace(cell, attack=replace(cell.attack, order=sent))  # type: ignore[type-var]
    if cell.attack.starts_from == "seeds" and not 0 < n_seed <= budget:
        raise RedhandedError(f"n-seed: {n_seed} seeds do not fit a budget of {budget} queries")
    return cell, {
        "n_seed": n_seed,
        "budget": budget,
        "order": cell.attack.order,
        "fidelity": faithful,
        "initial": "random" if cell.initial is None else cell.initial.name,
        "seed": seed,
    }


def _theft(
    cell: Extract,
    target: Target,
    asked: Oracle,
    budget: int,
    context: Context,
    log: AbstractContextManager[Callable[[Round], None]],
) -> tuple[nn.Module, Tally, dict[str, Any]]:
    """Steal; return the clone, what was counted, and what a record says of the queries."""
    generator = torch.Generator().manual_seed(cell.seed)
    weights = None if cell.initial is None else cell.initial.load(context)
    watch = Characteriser(target.victim, budget)
    with context.reporter(f"{cell.name}: queries") as progress, log as keep:
        clone, tally = steal(
            cell.attack,
            asked,
            target.seeds,
            surrogates(cell.surrogate, target.classes, weights, generator, context.device),
            generator,
            score=target.score,
            progress=progress,
            watch=watch,
            log=keep,
            **target.further,
        )
    return clone, tally, watch.traits()


def _record(
    name: str, clone: nn.Module, tally: Tally, client: SybilClient | None, target: Target
) -> dict[str, Any]:
    found = tally.round_scores[-1]
    record: dict[str, Any] = {
        "kind": "extraction",
        "attack": name,
        "accuracy": None if np.isnan(found) else found,
        "agreement": None,
        "queries": tally.queries,
        "round_queries": tally.round_queries,
    }
    if target.victim is not None and target.test is not None:
        theirs, ours = predict(target.victim, target.test), predict(clone, target.test)
        record["agreement"] = float((theirs.argmax(1) == ours.argmax(1)).float().mean())
    if client is not None:
        record |= {
            "flags": client.flags,
            "bans": len(client.bans),
            "accounts_used": client.accounts_used,
            "victim_queries": client.victim_queries,
            "unanswered": client.unanswered,
        }
    return record


def _table(record: dict[str, Any]) -> Table:
    unguarded = "unguarded"
    shown = {
        "attack": record["attack"],
        "extraction accuracy": "n/a" if record["accuracy"] is None else f"{record['accuracy']:.1%}",
        "agreement": "n/a" if record["agreement"] is None else f"{record['agreement']:.1%}",
        "queries": f"{record['queries']:,}",
        "flags": str(record.get("flags", unguarded)),
        "bans": str(record.get("bans", unguarded)),
        "accounts used": str(record.get("accounts_used", unguarded)),
        "victim asked": f"{record.get('victim_queries', record['queries']):,}",
    }
    table = options.sheet("What the theft cost", tuple(shown), left=("attack",))
    table.add_row(*shown.values())
    return table
