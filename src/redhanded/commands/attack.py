"""`redhanded attack`."""

import json
from dataclasses import dataclass, replace
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
    WorldName,
    announce,
    chosen,
    context_of,
    say,
    stderr,
    stdout,
    world_named,
)
from redhanded.detectors import load_bundle
from redhanded.errors import RedhandedError
from redhanded.experiments.context import Context
from redhanded.experiments.datasets import as_tensor
from redhanded.experiments.metrics import accuracy
from redhanded.experiments.run import run_cells
from redhanded.experiments.steal import Loot, steal
from redhanded.experiments.world import ATTACKS, World, balanced_seeds
from redhanded.guard import Guard
from redhanded.lab.data.seeds import draw_seeds
from redhanded.lab.imagefolder import ImageFolder, read_images
from redhanded.lab.remote import oracle_from
from redhanded.lab.sybil import SybilClient
from redhanded.lab.training import predict
from redhanded.lab.types import Fidelity, Images, Oracle
from redhanded.lab.victim import HardLabels, as_numpy


@dataclass(frozen=True)
class _Target:
    """What is attacked, from what, and what the clone is scored on."""

    oracle: Oracle
    seeds: Images
    classes: int
    test: Images | None
    labels: torch.Tensor | None
    """Test labels, or the victim's answers where there are none."""
    victim: nn.Module | None

    def score(self, clone: nn.Module) -> float:
        """Extraction accuracy; NaN without test images."""
        if self.test is None or self.labels is None:
            return float("nan")
        return accuracy(clone, self.test, self.labels)


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
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
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
    go through the guard, and the thief opens a new account whenever one is closed.
    """
    chosen_world, show = world_named(world), stderr()
    settled, faithful = chosen(MODES, mode, "mode"), chosen(FIDELITIES, fidelity, "fidelity")
    folder = out or Path("runs") / f"attack-{name}"
    context = context_of(Path("runs") / chosen_world.name, artefacts, device, show)
    sized = chosen(ATTACKS, name, "attack")
    budget = chosen_world.budget if budget is None else budget
    n_seed = (budget if name == "random" else chosen_world.n_seed_large) if n_seed is None else n_seed
    if not 0 < n_seed <= budget:
        raise RedhandedError(f"n-seed: {n_seed} seeds do not fit a budget of {budget} queries")
    attack_value = sized(chosen_world, budget, faithful)
    if order is not None:
        attack_value = replace(attack_value, order=chosen(ORDERS, order, "order"))
    detector = None if guard is None else load_bundle(guard)
    if oracle is None:
        target = _world_target(chosen_world, context, n_seed, seed, faithful)
    else:
        target = _own_target(oracle, images, classes, test, rate, n_seed, seed, context.device)
    client = None
    asked = target.oracle
    if detector is not None:
        client = SybilClient(Guard(as_numpy(target.oracle, context.device), detector, mode=settled))
        asked = client
    with context.reporter(f"{name}: queries") as progress:
        loot = steal(
            attack_value,
            asked,
            target.seeds,
            chosen_world.surrogate,
            target.classes,
            torch.Generator().manual_seed(seed),
            score=target.score,
            progress=progress,
        )
    record = _record(name, loot, client, target) | {
        "world": chosen_world.name if oracle is None else "own target",
        "n_seed": n_seed,
        "budget": budget,
        "order": attack_value.order,
        "fidelity": faithful,
        "seed": seed,
    }
    _keep(folder, loot, record)
    say(stdout(), [_table(record)], record, as_json=as_json)
    show.print(f"Query log, clone and record: {folder}", highlight=False, markup=False)


def _world_target(world: World, context: Context, n_seed: int, seed: int, fidelity: Fidelity) -> _Target:
    victim_cell = world.train_victim()
    run_cells([victim_cell], context, artefacts=True, started=announce(stderr()))
    victim, data = victim_cell.load(context), world.query_set.load()
    balanced = balanced_seeds(world.query_set, n_seed, fidelity)
    places = draw_seeds(data.labels, n_seed, seed, balanced=balanced, classes=len(data.classes))
    test = world.test.load()
    return _Target(
        HardLabels(victim),
        as_tensor(data.images[places], context.device),
        int(context.record(victim_cell)["classes"]),
        as_tensor(test.images, context.device),
        torch.from_numpy(test.labels).to(context.device),
        victim,
    )


def _own_target(
    spec: str,
    images: Path | None,
    classes: int | None,
    test: Path | None,
    rate: float | None,
    n_seed: int,
    seed: int,
    device: torch.device,
) -> _Target:
    if images is None or classes is None:
        raise RedhandedError("oracle: a target of your own needs --images DIR and --classes N as well")
    found = read_images(images)
    if len(found.images) < n_seed:
        raise RedhandedError(
            f"n-seed: {n_seed} seeds cannot be drawn from the {len(found.images)} images in {images}; "
            "give more images or a smaller --n-seed"
        )
    places = np.random.default_rng([seed, n_seed]).permutation(len(found.images))[:n_seed]
    held: ImageFolder | None = None if test is None else read_images(test)
    if held is not None and held.labels is None:
        raise RedhandedError(f"test: {test} has no subfolder per class; sort its images by class")
    return _Target(
        oracle_from(spec, classes, rate=rate),
        torch.from_numpy(found.images[places]).to(device),
        classes,
        None if held is None else torch.from_numpy(held.images).to(device),
        None if held is None or held.labels is None else torch.from_numpy(held.labels).to(device),
        None,
    )


def _record(name: str, loot: Loot, client: SybilClient | None, target: _Target) -> dict[str, Any]:
    found = loot.round_scores[-1]
    record: dict[str, Any] = {
        "kind": "extraction",
        "attack": name,
        "accuracy": None if np.isnan(found) else found,
        "agreement": None,
        "queries": loot.queries,
        "round_queries": list(loot.round_queries),
    }
    if target.victim is not None and target.test is not None:
        theirs, ours = predict(target.victim, target.test), predict(loot.clone, target.test)
        record["agreement"] = float((theirs.argmax(1) == ours.argmax(1)).float().mean())
    if client is not None:
        record |= {"flags": client.flags, "bans": len(client.bans), "accounts_used": client.accounts_used}
    return record


def _keep(folder: Path, loot: Loot, record: dict[str, Any]) -> None:
    loot.log.save(folder / "log")
    save_file(
        {k: v.cpu().contiguous() for k, v in loot.clone.state_dict().items()}, folder / "clone.safetensors"
    )
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
    }
    for column in shown:
        table.add_column(column, justify="left" if column == "attack" else "right")
    table.add_row(*shown.values())
    return table
