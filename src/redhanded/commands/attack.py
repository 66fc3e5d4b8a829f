"""`redhanded attack`."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich import box
from rich.table import Table
from safetensors.torch import save_file
from torch import nn

from redhanded.commands.options import (
    ARTEFACTS,
    FIDELITIES,
    MODES,
    ORDERS,
    Artefacts,
    DeviceName,
    Json,
    ModeName,
    Seed,
    WorldName,
    chosen,
    context_of,
    say,
    stderr,
    stdout,
    world_named,
)
from redhanded.commands.target import Target, own_target, world_target
from redhanded.detectors import load_bundle
from redhanded.errors import RedhandedError
from redhanded.experiments.cells.extract import surrogates
from redhanded.experiments.measure.characterise import Characteriser
from redhanded.experiments.measure.querylog import LogWriter
from redhanded.experiments.measure.steal import Tally, steal
from redhanded.experiments.worlds.attacks import ATTACKS
from redhanded.experiments.worlds.world import LOGGED
from redhanded.guard import Guard
from redhanded.lab.oracles.recorded import Recorded
from redhanded.lab.oracles.victim import as_numpy
from redhanded.lab.sybil import SybilClient
from redhanded.lab.training import predict
from redhanded.lab.types import Round


def attack(
    name: Annotated[str, typer.Argument(help=f"{', '.join(ATTACKS)}.")],
    world: WorldName = "demo",
    budget: Annotated[int | None, typer.Option(help="Queries it may send; default: the world's.")] = None,
    n_seed: Annotated[
        int | None, typer.Option(help="Natural images it starts from; default: the world's.")
    ] = None,
    guard: Annotated[
        Path | None, typer.Option(help="Bundle of a calibrated detector to put in front of the victim.")
    ] = None,
    mode: ModeName = "paper",
    oracle: Annotated[
        str | None,
        typer.Option(help="Your own target: an http(s) URL (see docs/oracle.md) or module:callable."),
    ] = None,
    images: Annotated[Path | None, typer.Option(help="With --oracle: folder of the thief's images.")] = None,
    classes: Annotated[int | None, typer.Option(help="With --oracle: number of classes it knows.")] = None,
    test: Annotated[
        Path | None, typer.Option(help="With --oracle: folder of test images, one subfolder a class.")
    ] = None,
    rate: Annotated[float | None, typer.Option(help="With an --oracle URL: images a second at most.")] = None,
    order: Annotated[
        str | None, typer.Option(help=f"Order of a round's queries: {', '.join(ORDERS)}; default: its own.")
    ] = None,
    fidelity: Annotated[
        str,
        typer.Option(help="corrected, or released: as the code behind the paper does it, seeds unbalanced."),
    ] = "corrected",
    initial: Annotated[
        str | None,
        typer.Option(
            help="What surrogates start from: random, public (trained on a public set first) or imagenet "
            "(VGG16-BN, downloaded); default: the world's."
        ),
    ] = None,
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the query log, the clone and the record; default runs/attack-NAME."),
    ] = None,
    artefacts: Artefacts = ARTEFACTS,
    device: DeviceName = "cpu",
    as_json: Json = False,
) -> None:
    """Steal a model with one attack, and print how good the clone is and what it cost.

    Without --oracle the target is the world's own victim, trained first if need be. With --guard the queries
    go through the guard, and the thief opens a new account whenever one is closed. If a target of your own
    fails half-way, its answers are kept: the same command goes on from them.
    """
    chosen_world, show = world_named(world), stderr()
    settled, faithful = chosen(MODES, mode, "mode"), chosen(FIDELITIES, fidelity, "fidelity")
    _check_options(
        oracle, guard, mode, {"--images": images, "--classes": classes, "--test": test, "--rate": rate}
    )
    folder = out or Path("runs") / f"attack-{name}"
    folder.mkdir(parents=True, exist_ok=True)  # what cannot be written should fail before the first query
    context = context_of(Path("runs") / chosen_world.name, artefacts, device, show)
    chosen(ATTACKS, name, "attack")
    name = name.lower()
    budget = chosen_world.default_budget(name) if budget is None else budget
    if budget < 1:
        raise RedhandedError(f"budget: {budget} is not a number of queries above 0")
    n_seed = (budget if name == "random" else chosen_world.n_seed_large) if n_seed is None else n_seed
    cell = chosen_world.extract(name, n_seed, seed, budget=budget, fidelity=faithful)
    if initial is not None:
        cell = replace(cell, initial=chosen_world.initial_named(initial.lower()))
    if order is not None:
        cell = replace(cell, attack=replace(cell.attack, order=chosen(ORDERS, order, "order")))  # type: ignore[type-var]
    if cell.attack.starts_from == "seeds" and not 0 < n_seed <= budget:
        raise RedhandedError(f"n-seed: {n_seed} seeds do not fit a budget of {budget} queries")
    detector = None if guard is None else load_bundle(guard)
    if oracle is None:
        target = world_target(cell, context)
    else:
        target = own_target(cell, oracle, images, classes, test, rate, n_seed, seed, context)
    kept = None if oracle is None else Recorded(target.oracle, folder / "answers.npz")
    asked = target.oracle if kept is None else kept
    client = None
    if detector is not None:
        client = SybilClient(Guard(as_numpy(asked, context.device), detector, mode=settled))
    generator = torch.Generator().manual_seed(seed)
    weights = None if cell.initial is None else cell.initial.load(context)
    watch = Characteriser(target.victim, budget)
    logged = budget <= LOGGED
    try:
        with context.reporter(f"{name}: queries") as progress, _log(folder, logged=logged) as log:
            clone, tally = steal(
                cell.attack,
                client or asked,
                target.seeds,
                surrogates(cell.surrogate, target.classes, weights, generator, context.device),
                generator,
                score=target.score,
                progress=progress,
                watch=watch,
                log=log,
                **target.further,
            )
    finally:
        if kept is not None:  # answers that were paid for outlive whatever went wrong
            kept.save()
    record = (
        _record(name, clone, tally, client, target)
        | watch.traits()
        | {
            "world": chosen_world.name if oracle is None else "own target",
            "n_seed": n_seed,
            "budget": budget,
            "order": cell.attack.order,
            "fidelity": faithful,
            "initial": "random" if cell.initial is None else cell.initial.name,
            "seed": seed,
        }
    )
    _keep(folder, clone, record)
    if kept is not None and logged:
        kept.path.unlink(missing_ok=True)  # the log holds them now
    say(stdout(), [_table(record)], record, as_json=as_json)
    what = "Query log, clone and record" if logged else f"Clone and record (no log above {LOGGED:,} queries)"
    show.print(f"{what}: {folder}", highlight=False, markup=False)


def _log(folder: Path, *, logged: bool) -> AbstractContextManager[Callable[[Round], None]]:
    """Return what takes the rounds: a query log, or nothing for a theft whose log would fill a disk."""
    return LogWriter(folder / "log") if logged else nullcontext(lambda part: None)  # noqa: ARG005 - forgets


def _check_options(oracle: str | None, guard: Path | None, mode: str, own: dict[str, Any]) -> None:
    """Refuse options that would be ignored."""
    given = [option for option, value in own.items() if value is not None]
    if oracle is None and given:
        raise RedhandedError(f"oracle: {given[0]} is for a target of your own; give --oracle as well")
    if guard is None and mode.lower() != "paper":
        raise RedhandedError("guard: --mode is for a guarded target; give --guard as well")


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


def _keep(folder: Path, clone: nn.Module, record: dict[str, Any]) -> None:
    save_file({k: v.cpu().contiguous() for k, v in clone.state_dict().items()}, folder / "clone.safetensors")
    (folder / "record.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _table(record: dict[str, Any]) -> Table:
    table = Table(title="What the theft cost", title_justify="left", box=box.SIMPLE_HEAD)
    shown = {
        "attack": record["attack"],
        "extraction accuracy": "n/a" if record["accuracy"] is None else f"{record['accuracy']:.1%}",
        "agreement": "n/a" if record["agreement"] is None else f"{record['agreement']:.1%}",
        "queries": f"{record['queries']:,}",
        "flags": str(record.get("flags", "unguarded")),
        "bans": str(record.get("bans", "unguarded")),
        "accounts used": str(record.get("accounts_used", "unguarded")),
        "victim asked": f"{record.get('victim_queries', record['queries']):,}",
    }
    for column in shown:
        table.add_column(column, justify="left" if column == "attack" else "right")
    table.add_row(*shown.values())
    return table
