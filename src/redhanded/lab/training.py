"""One training function, on tensors that live on the device: no workers, no loaders."""

import io
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn

from redhanded.errors import OutOfTimeError, RedhandedError
from redhanded.files import whole
from redhanded.lab.models import seeded
from redhanded.lab.types import Images, Outputs
from redhanded.types import Float

Progress = Callable[[int, int], None]
"""Told (steps done, steps in all)."""
BatchLoss = Callable[[nn.Module, Tensor, torch.Generator], Tensor]
"""(model, places of the batch's rows, generator) to a scalar loss."""
State = dict[str, Any]
"""Tensors, plain values, and dicts and lists of them: what `load_state` reads without running code."""


@dataclass(frozen=True)
class Training:
    """How a model is trained. Defaults: the final training of the paper's surrogates (SGD 0.01, 100 epochs).

    `schedule="step"` multiplies the rate by `step_factor` every `step_epochs`; `"linear"` lets it fall to
    zero, which short trainings need.
    """

    epochs: int = 100
    batch: int = 64
    optimiser: Literal["sgd", "adam"] = "sgd"
    lr: float = 0.01
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 5e-4
    schedule: Literal["step", "linear"] = "step"
    step_epochs: int = 30
    step_factor: float = 0.1
    crop_flip: bool = False
    """Crop from a zero border of 4 pixels and flip, each image anew in every epoch."""


def save_state(path: Path, state: State) -> None:
    """Write a state to a file that appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    torch.save(state, content)  # not to the file: a full disk should be an `OSError`
    with whole(path) as partial:
        partial.write_bytes(content.getbuffer())


def load_state(path: Path) -> State:
    """Read what `save_state` wrote, onto the CPU; raises `RedhandedError` for any other file."""
    try:
        with path.open("rb") as file:  # by its content: of a name, PyTorch would look at the ending
            state: State = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, OutOfTimeError):
        raise  # says nothing of what the file holds
    except Exception as error:
        raise RedhandedError(f"{path}: no checkpoint of this version; delete it and run again") from error
    return state


@dataclass
class Checkpoint:
    """Where long work saves itself, so that a kill or a deadline loses at most `every` seconds of it."""

    path: Path
    every: float = 60.0
    deadline: float | None = None
    """`time.monotonic()` at which the work stops with `OutOfTimeError`, having saved itself."""
    _saved: float = field(default_factory=time.monotonic, init=False)

    def load(self) -> State:
        """Return what was saved last; nothing at the start. Raises as `load_state`."""
        return load_state(self.path) if self.path.is_file() else {}

    def offer(self, state: Callable[[], State], work: str = "the attack") -> None:
        """Save the state if it is time to.

        Raises:
            OutOfTimeError: the deadline came; `work` is what has stopped.
        """
        now = time.monotonic()
        late = self.deadline is not None and now >= self.deadline
        if late or now - self._saved >= self.every:
            save_state(self.path, state())
            self._saved = now
        if late:
            raise OutOfTimeError(f"time limit: {work} stopped at a checkpoint; run again to go on")


class Watch(TypedDict, total=False):
    """What every training takes and passes on to `fit`."""

    progress: Progress | None
    checkpoint: Checkpoint | None


def fit(
    model: nn.Module,
    rows: int,
    batch_loss: BatchLoss,
    config: Training,
    generator: torch.Generator,
    *,
    autocast: bool = True,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> None:
    """Minimise `batch_loss` over random batches of `rows` places; leaves the model in evaluation mode.

    Everything random (order, augmentation, dropout) comes from `generator`, so a training resumed from its
    checkpoint ends where an uninterrupted one does. CUDA devices use bf16 autocast unless told otherwise;
    processors without bf16 units lose a factor of ten by it and stay in float32.

    Raises:
        OutOfTimeError: the checkpoint's deadline came; what was trained is saved there.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    device = parameters[0].device
    optimiser = _optimiser(parameters, config)
    steps_per_epoch = -(-rows // config.batch)  # no rows, no steps: the model stays as it was
    total = steps_per_epoch * config.epochs
    done, order = 0, torch.arange(rows)

    def state() -> State:
        return {
            "model": model.state_dict(),
            "optimiser": optimiser.state_dict(),
            "generator": generator.get_state(),
            "global": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
            "done": step + 1,
            "order": order,
        }

    model.train()
    with seeded(generator):
        if checkpoint is not None and (stored := checkpoint.load()):
            model.load_state_dict(stored["model"])
            optimiser.load_state_dict(stored["optimiser"])
            generator.set_state(stored["generator"])
            torch.set_rng_state(stored["global"])
            if stored["cuda"] is not None:
                torch.cuda.set_rng_state(stored["cuda"])
            done, order = stored["done"], stored["order"]
        for step in range(done, total):
            if step % steps_per_epoch == 0:
                order = torch.randperm(rows, generator=generator)
            at = (step % steps_per_epoch) * config.batch
            places = order[at : at + config.batch]
            for group in optimiser.param_groups:
                group["lr"] = config.lr * _rate(config, step, steps_per_epoch, total)
            if not len(places) == 1 < min(rows, config.batch):  # batch norm cannot learn from one left over
                with torch.autocast(device.type, torch.bfloat16, enabled=autocast and device.type == "cuda"):
                    loss = batch_loss(model, places.to(device), generator)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
            if progress is not None and (step % 10 == 9 or step == total - 1):
                progress(step + 1, total)
            if checkpoint is not None:
                checkpoint.offer(state, "training")
    model.eval()


def train_classifier(
    model: nn.Module,
    images: Images,
    labels: Outputs,
    config: Training,
    generator: torch.Generator,
    **watch: Unpack[Watch],
) -> None:
    """Train on images [n, 3, h, w] in [0, 1] and soft or one-hot labels [n, classes], by cross-entropy."""

    def loss(model: nn.Module, places: Tensor, generator: torch.Generator) -> Tensor:
        batch = images[places]
        if config.crop_flip:
            batch = crop_and_flip(batch, generator)
        batch = batch.contiguous(memory_format=torch.channels_last)
        return F.cross_entropy(model(batch).float(), labels[places])

    fit(model, len(images), loss, config, generator, **watch)


def crop_and_flip(images: Images, generator: torch.Generator, border: int = 4) -> Images:
    """Shift each image by up to `border` pixels into a black frame, and mirror every other one."""
    n, _, height, width = images.shape
    shift = torch.randint(0, 2 * border + 1, (2, n, 1), generator=generator)
    mirrored = torch.rand(n, 1, generator=generator) < 0.5
    down = shift[0] + torch.arange(height)
    across = torch.arange(width).expand(n, width)
    across = shift[1] + torch.where(mirrored, across.flip(1), across)
    padded = F.pad(images, (border,) * 4)
    rows = torch.arange(n, device=images.device)[:, None, None]
    down, across = down.to(images.device)[:, :, None], across.to(images.device)[:, None, :]
    # advanced indices around a slice move to the front: [n, h, w, c]
    return padded[rows, :, down, across].permute(0, 3, 1, 2)


@torch.no_grad()
def predict(model: nn.Module, images: Images, batch: int = 512) -> Float[Tensor, "n classes"]:
    """Logits in float32, evaluation mode, in batches."""
    model.eval()
    parts = [
        model(images[at : at + batch].contiguous(memory_format=torch.channels_last))
        for at in range(0, len(images), batch)
    ]
    return torch.cat(parts) if parts else torch.empty(0, 0, device=images.device)


def _optimiser(parameters: list[nn.Parameter], config: Training) -> torch.optim.Optimizer:
    if config.optimiser == "adam":
        return torch.optim.Adam(parameters, lr=config.lr, weight_decay=config.weight_decay)
    return torch.optim.SGD(
        parameters,
        lr=config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=config.nesterov,
    )


def _rate(config: Training, step: int, steps_per_epoch: int, total: int) -> float:
    if config.schedule == "linear":
        warm = min(1.0, (step + 1) / (0.1 * total))
        return min(warm, (total - step) / total)
    return float(config.step_factor ** (step // steps_per_epoch // config.step_epochs))
