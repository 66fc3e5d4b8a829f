"""Targeted Carlini & Wagner L2: the least change that makes the surrogate say the target (JBA-CW, §IV-A)."""

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from redhanded.lab.attacks.perturb import Aim, Crafted
from redhanded.lab.types import Fidelity, Images
from redhanded.types import Bool, Float, Int

SHRINK = 0.999999
"""Keeps black and white pixels at a finite place in tanh space; Foolbox's."""
BETAS, TINY = (0.9, 0.999), 1e-8
"""Adam's own defaults."""


@dataclass
class _Rows:
    """The rows that Adam still works on; all tensors have a row for each."""

    place: Int[Tensor, " n"]
    """Where each came from."""
    source: Images
    target: Int[Tensor, "n 1"]
    constant: Float[Tensor, " n"]
    point: Float[Tensor, "n c h w"]
    """In tanh space."""
    mean: Float[Tensor, "n c h w"]
    square: Float[Tensor, "n c h w"]
    loss: Float[Tensor, " n"]
    """At the last check."""
    found: Bool[Tensor, " n"]
    """Whether this constant led to the target."""
    best: Images
    norm: Float[Tensor, " n"]
    """Squared, of the best."""

    def only(self, keep: Bool[Tensor, " n"]) -> "_Rows":
        places = keep.nonzero()[:, 0]
        return _Rows(*(getattr(self, field.name)[places] for field in fields(self)))


@dataclass(frozen=True)
class CarliniWagner:
    """Carlini & Wagner's L2 attack as Foolbox's `L2CarliniWagnerAttack` runs it, 5 x 150 steps (§IV-A).

    Minimises ‖x' - x‖² + c · max(best other logit - target's logit + `confidence`, 0) by Adam in tanh space,
    for a constant c of each row's own: ten times larger until the target is reached, then bisected. The
    nearest image that reached the target is returned.

    Progress is checked ten times a run, as in Foolbox, but row by row: a row whose loss has not fallen by
    0.01% since the last check leaves the batch. Foolbox stops the whole batch by its summed loss, so that an
    image depends on its batch; alone, each image comes out as Foolbox's.

    A row that never reached its target has `failed`. `corrected` does not send it; `released` sends what
    Foolbox then returns: an image of zeros.
    """

    steps: int = 150
    searches: int = 5
    step: float = 0.01
    confidence: float = 0.0
    initial_constant: float = 1e-3
    abort_early: bool = True
    fidelity: Fidelity = "corrected"

    def __call__(self, surrogate: nn.Module, aim: Aim, generator: torch.Generator) -> Crafted:
        """Return the nearest image that reached each target; `generator` is not needed."""
        del generator
        origin = ((aim.sources * 2 - 1) * SHRINK).atanh()
        source = (origin.tanh() + 1) / 2
        constant = source.new_full((len(source),), self.initial_constant)
        low, high = torch.zeros_like(constant), torch.full_like(constant, torch.inf)
        best, norm = torch.zeros_like(source), high.clone()
        for _ in range(self.searches):
            rows = _Rows(
                place=torch.arange(len(source), device=source.device),
                source=source,
                target=aim.targets[:, None],
                constant=constant,
                point=origin.clone(),
                mean=torch.zeros_like(origin),
                square=torch.zeros_like(origin),
                loss=torch.full_like(constant, torch.inf),
                found=torch.zeros_like(constant, dtype=torch.bool),
                best=best,
                norm=norm,
            )
            best, norm, found = self._minimise(surrogate, rows)
            high, low = torch.where(found, constant, high), torch.where(found, low, constant)
            constant = torch.where(high.isinf(), constant * 10, (low + high) / 2)
        failed = norm.isinf()
        return Crafted(best, failed, ~failed if self.fidelity == "corrected" else torch.ones_like(failed))

    def improving(self, loss: Float[Tensor, " n"], previous: Float[Tensor, " n"]) -> Bool[Tensor, " n"]:
        """Return which rows go on after a check, given the losses at this check and at the one before."""
        return loss < 0.9999 * previous  # strictly: a loss of zero cannot fall

    def _minimise(self, surrogate: nn.Module, rows: _Rows) -> tuple[Images, Tensor, Tensor]:
        """Run Adam at fixed constants; return the best images, their squared norms, and what was found."""
        best, norm, found = rows.best.clone(), rows.norm.clone(), rows.found.clone()
        for step in range(self.steps):
            loss, squared, reached, images, gradient = self._evaluate(surrogate, rows)
            check = self.abort_early and step % math.ceil(self.steps / 10) == 0
            if check:
                going = self.improving(loss, rows.loss)
                reached, rows.loss = reached & going, loss  # Foolbox does not look at where it stops
            rows.found = rows.found | reached
            better = reached & (squared < rows.norm)
            rows.best = torch.where(better.view(-1, 1, 1, 1), images, rows.best)
            rows.norm = torch.where(better, squared, rows.norm)
            self._descend(rows, gradient, step + 1)
            if check or step == self.steps - 1:
                best[rows.place], norm[rows.place], found[rows.place] = rows.best, rows.norm, rows.found
            if check:
                rows = rows.only(going)
                if len(rows.place) == 0:
                    break
        return best, norm, found

    def _evaluate(self, surrogate: nn.Module, rows: _Rows) -> tuple[Tensor, Tensor, Tensor, Images, Tensor]:
        """Return loss, squared distance, whether the target is reached, the images, and the gradient."""
        point = rows.point.detach().requires_grad_()
        images = (point.tanh() + 1) / 2
        logits = surrogate(images)
        behind = logits.scatter(1, rows.target, -torch.inf).amax(1) - logits.gather(1, rows.target)[:, 0]
        squared = (images - rows.source).square().sum((1, 2, 3))
        loss = rows.constant * (behind + self.confidence).clamp(min=0) + squared
        (gradient,) = torch.autograd.grad(loss.sum(), point)  # of the images alone, never of the weights
        reached = behind.detach() + self.confidence < 0
        return loss.detach(), squared.detach(), reached, images.detach(), gradient

    def _descend(self, rows: _Rows, gradient: Tensor, step: int) -> None:
        rows.mean.lerp_(gradient, 1 - BETAS[0])
        rows.square.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
        scale = (rows.square / (1 - BETAS[1] ** step)).sqrt_().add_(TINY)
        rows.point.addcdiv_(rows.mean, scale, value=-self.step / (1 - BETAS[0] ** step))
