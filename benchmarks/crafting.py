"""Crafting against Foolbox: Carlini & Wagner and PGD on one model and the same images, in alternating runs.

Run as `python benchmarks/crafting.py`; `--quick` is a smoke run that writes nothing unless told where.
"""

import argparse
import json
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from redhanded.experiments.runner.provenance import revision
from redhanded.experiments.worlds.demo import demo
from redhanded.lab.attacks.carlini_wagner import CarliniWagner
from redhanded.lab.attacks.jba import top_targets
from redhanded.lab.attacks.perturb import Aim, LinfPgd
from redhanded.lab.models import build
from redhanded.lab.training import predict
from setting import trained

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it imports what SciPy has moved
    import foolbox

RESULT = Path(__file__).parent.parent / "results" / "benchmarks" / "crafting.json"


class Timed(NamedTuple):
    """One run."""

    images: Tensor
    reached: Tensor
    wall: float
    cpu: float


Craft = Callable[[], tuple[Tensor, Tensor]]
"""Returns images, and which the surrogate gives their target."""


@dataclass(frozen=True)
class BatchAbort(CarliniWagner):
    """Stops by the batch's summed loss, as Foolbox."""

    def improving(self, loss: Tensor, previous: Tensor) -> Tensor:
        """Return all rows or none."""
        return (loss.sum() < 0.9999 * previous.sum()).expand(len(loss))


def aim_at(model: nn.Module, images: Tensor, labels: Tensor, count: int) -> Aim:
    """Aim images that the model gets right at its second choice."""
    logits = predict(model, images)
    right = (logits.argmax(1) == labels).nonzero()[:count, 0]
    images, labels = images[right].contiguous(memory_format=torch.channels_last), labels[right]
    targets = top_targets(logits[right], torch.eye(10)[labels], 1)[:, 0]
    return Aim(images, labels, targets, images, labels)


def ours(attack: CarliniWagner | LinfPgd, model: nn.Module, aim: Aim, *, frozen: bool = True) -> Craft:
    """Craft with redhanded; the attack freezes its surrogate before."""

    def craft() -> tuple[Tensor, Tensor]:
        model.requires_grad_(not frozen)
        crafted = attack(model, aim, torch.Generator().manual_seed(1))
        return crafted.images, (predict(model, crafted.images).argmax(1) == aim.targets) & ~crafted.failed

    return craft


def theirs(attack: Any, model: nn.Module, aim: Aim, *, frozen: bool, epsilon: float | None = None) -> Craft:
    """Craft with Foolbox. A model is not frozen unless its user does so."""
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    criterion = foolbox.criteria.TargetedMisclassification(aim.targets)
    sources = aim.sources.contiguous()

    def craft() -> tuple[Tensor, Tensor]:
        model.requires_grad_(not frozen)
        model.zero_grad(set_to_none=True)
        images, _, reached = attack(wrapped, sources, criterion, epsilons=epsilon)
        return images, reached

    return craft


def alternate(crafts: Mapping[str, Craft], runs: int) -> dict[str, list[Timed]]:
    """Run each in turn, `runs` times over, so that all see the same machine."""
    out: dict[str, list[Timed]] = {name: [] for name in crafts}
    for run in range(runs):
        for name, craft in crafts.items():
            wall, cpu = time.perf_counter(), time.process_time()
            images, reached = craft()
            out[name].append(Timed(images, reached, time.perf_counter() - wall, time.process_time() - cpu))
            print(f"run {run + 1} of {runs}: {name} {out[name][-1].wall:.1f} s", flush=True)
    return out


def speed(name: str, peer: str, one: list[Timed], other: list[Timed], note: str = "") -> dict[str, Any]:
    """Return a row: medians of wall seconds, and the median of the paired ratios."""
    ratios = [b.wall / a.wall for a, b in zip(one, other, strict=True)]
    cpu = statistics.median(b.cpu / a.cpu for a, b in zip(one, other, strict=True))
    middle = statistics.median(ratios)
    return {
        "name": name,
        "peer": peer,
        "ours": round(statistics.median(part.wall for part in one), 3),
        "theirs": round(statistics.median(part.wall for part in other), 3),
        "unit": "s",
        "ratio": round(middle, 3),
        "exact": None,
        "runs": len(one),
        "spread": round((max(ratios) - min(ratios)) / middle, 3),
        "note": f"ratio of CPU seconds {cpu:.2f}" + (f"; {note}" if note else ""),
    }


def quality(name: str, aim: Aim, one: Timed, other: Timed) -> list[dict[str, Any]]:
    """Return rows for success rate and mean L2 distance, of the images that both bring to their target."""
    both = one.reached & other.reached
    norms = [
        float((part.images - aim.sources).square().sum((1, 2, 3)).sqrt()[both].mean())
        for part in (one, other)
    ]
    rates = [float(part.reached.float().mean()) for part in (one, other)]
    common = {"peer": "Foolbox 3.3.4", "runs": 1, "spread": 0.0, "exact": False}
    rate_ratio = rates[0] / rates[1] if rates[1] else None
    return [
        {"name": f"{name}: success rate", "ours": rates[0], "theirs": rates[1], "unit": "share"}
        | {"ratio": rate_ratio, "note": f"{len(both)} images"}
        | common,
        {"name": f"{name}: mean L2", "ours": norms[0], "theirs": norms[1], "unit": "pixels of [0, 1]"}
        | {
            "ratio": norms[1] / norms[0],
            "note": f"{int(both.sum())} images that both brought to their target",
        }
        | common,
    ]


def carlini_wagner(model: nn.Module, aim: Aim, runs: int, attack: CarliniWagner) -> list[dict[str, Any]]:
    """Compare with Foolbox, and switch off what makes it fast, one thing at a time."""
    peer = foolbox.attacks.L2CarliniWagnerAttack(binary_search_steps=attack.searches, steps=attack.steps)
    plain = build(demo().surrogate, 10, torch.Generator()).eval()
    plain.load_state_dict(model.state_dict())
    plain = plain.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    contiguous = aim._replace(sources=aim.sources.contiguous())
    off = {  # what each makes of it when it is taken away
        "abort of the batch instead of each row": ours(BatchAbort(attack.steps, attack.searches), model, aim),
        "weights that require gradients": ours(attack, model, aim, frozen=False),
        "model and images contiguous, not channels-last": ours(attack, plain, contiguous),
    }
    timed = alternate(
        {
            "CW": ours(attack, model, aim),
            "CW by Foolbox": theirs(peer, model, aim, frozen=False),
            "CW by Foolbox, frozen": theirs(peer, model, aim, frozen=True),
        }
        | off,
        runs,
    )
    best = timed["CW"]
    rows = [
        speed("CW-L2", "Foolbox 3.3.4", best, timed["CW by Foolbox"], "Foolbox as it comes"),
        speed("CW-L2, frozen weights for both", "Foolbox 3.3.4", best, timed["CW by Foolbox, frozen"]),
        *quality("CW-L2", aim, best[0], timed["CW by Foolbox"][0]),
    ]
    return rows + [speed(f"CW-L2 with {name}", "itself", best, timed[name], "ablation") for name in off]


def pgd(model: nn.Module, aim: Aim, runs: int) -> list[dict[str, Any]]:
    """Compare PGD with Foolbox."""
    attack = LinfPgd()
    peer = foolbox.attacks.LinfPGD()
    timed = alternate(
        {
            "PGD": ours(attack, model, aim),
            "PGD by Foolbox": theirs(peer, model, aim, frozen=False, epsilon=attack.epsilon),
            "PGD by Foolbox, frozen": theirs(peer, model, aim, frozen=True, epsilon=attack.epsilon),
        },
        3 * runs,
    )
    best = timed["PGD"]
    return [
        speed("PGD", "Foolbox 3.3.4", best, timed["PGD by Foolbox"], "Foolbox as it comes"),
        speed("PGD, frozen weights for both", "Foolbox 3.3.4", best, timed["PGD by Foolbox, frozen"]),
        *quality("PGD", aim, best[0], timed["PGD by Foolbox"][0]),
    ]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="16 images, one run, short searches")
    parser.add_argument(
        "--out", type=Path, help="where to write; results/benchmarks/crafting.json by default"
    )
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    count, runs, epochs = (16, 1, 1) if options.quick else (256, 3, 3)
    attack = CarliniWagner(steps=20, searches=4) if options.quick else CarliniWagner()
    model, images, labels = trained(epochs)
    aim = aim_at(model, images, labels, count)
    rows = pgd(model, aim, runs) + carlini_wagner(model, aim, runs, attack)
    device = f"{platform.machine()} CPU, {torch.get_num_threads()} thread(s)"
    record = {
        "rows": [row | {"device": device} for row in rows],
        "provenance": {
            "revision": revision(),
            "torch": torch.__version__,
            "foolbox": foolbox.__version__,
            "python": platform.python_version(),
            "threads": torch.get_num_threads(),
            "batch": len(aim.sources),
            "model": repr(demo().surrogate),
            "quick": options.quick,
        },
    }
    text = json.dumps(record, indent=1)
    print(text)
    out = options.out or (None if options.quick else RESULT)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
