"""MAD: the answer, within a distance, that turns a thief's gradient most (Orekondy et al., §V-C)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn

from redhanded.errors import RedhandedError
from redhanded.lab.oracles.victim import Probabilities
from redhanded.lab.types import Images, Oracle, Outputs
from redhanded.types import Float, Int

CHUNK = 512
"""Images whose candidates are held at once: 20 MB for ten classes."""
EXHAUSTIVE = 10
"""Up to so many classes every vertex is tried, 2^(classes - 1) of them."""
MARGIN = 1e-5
"""Extra weight of the predicted class, so that it stays the largest."""

Candidates = Float[Tensor, "n candidates classes"]
Gain = Callable[[Candidates], Float[Tensor, "n candidates"]]
"""What each candidate y* is worth."""


@dataclass(frozen=True)
class Mad:
    """Blend the answer y with the vertex y* whose loss gradient in the thief's network differs most from y's.

    The network is imagined as `proxy`, randomly initialised, ending in a fully connected layer; G holds the
    gradients of its K negative log-likelihoods with respect to that layer's weights. `vertices="extreme"`
    tries the K one-hot answers and can change the argmax; `"argmax"` tries equal shares among sets of classes
    that contain the predicted one, all of them up to ten classes, greedily above, and never changes it. The
    answer is (1 - a) y + a y* with a = min(1, epsilon / |y - y*|_1). Defaults: the released code and its
    README.

    Without `objmax` the objective |G'y* - G'y|^2 does not depend on the proxy (see `gain`), which is then not
    asked. Two differences from the released greedy search: it always takes the normalised objective, here
    `objmax` decides; and it never tries the predicted class alone.
    """

    oracle: Oracle
    proxy: nn.Module
    epsilon: float = 0.5
    """Largest L1 distance from the honest answer; 2 is no limit."""
    vertices: Literal["extreme", "argmax"] = "extreme"
    objmax: bool = False
    """Maximise the angle: G'y* and G'y are normalised first."""
    evaluations: int = 1024
    """The greedy search ends with the step in which it has tried so many vertices for an image."""

    def __post_init__(self) -> None:
        if not isinstance([*self.proxy.modules()][-1], nn.Linear):
            raise RedhandedError("proxy: its last layer must be fully connected; end it in nn.Linear")
        if self.epsilon < 0:
            raise RedhandedError(f"epsilon: {self.epsilon} must be at least 0")

    def __call__(self, images: Images) -> Outputs:
        outputs = self.oracle(images)
        answers = outputs.double()
        # without objmax what the proxy believes cancels out
        believed = Probabilities(self.proxy)(images).double() if self.objmax else torch.zeros_like(answers)
        parts = zip(torch.split(answers, CHUNK), torch.split(believed, CHUNK), strict=True)
        targets = torch.cat([self._targets(*part) for part in parts])
        distance = (answers - targets).abs().sum(1, keepdim=True)
        share = (self.epsilon / (distance + 1e-7)).clamp(max=1)
        return ((1 - share) * answers + share * targets).to(outputs.dtype)

    def _targets(self, answers: Outputs, believed: Outputs) -> Outputs:
        def gained(candidates: Candidates) -> Float[Tensor, "n candidates"]:
            return gain(candidates, answers[:, None], believed[:, None], objmax=self.objmax)

        classes = answers.shape[1]
        top = answers.argmax(1)
        if self.vertices == "argmax" and classes > EXHAUSTIVE:
            return _greedily(gained, top, classes, self.evaluations)
        one_hot = torch.eye(classes, dtype=answers.dtype, device=answers.device)
        extreme = one_hot.expand(len(answers), classes, classes)
        candidates = extreme if self.vertices == "extreme" else _keeping(classes).to(answers.device)[top]
        best = gained(candidates).argmax(1)
        return candidates[torch.arange(len(answers), device=answers.device), best]


def gain(
    candidates: Float[Tensor, "... classes"],
    answers: Float[Tensor, "... classes"],
    believed: Float[Tensor, "... classes"],
    *,
    objmax: bool,
) -> Float[Tensor, "..."]:
    """Return |G'y* - G'y|^2 / |h|^2 (objmax: |G'y*/|G'y*| - G'y/|G'y||^2) for rows that sum to 1.

    Behind a fully connected layer with input h the gradient of class k's loss is (p - e_k) h', where p is
    what the proxy believes; so G'y = (p - y) h', and neither h nor, without `objmax`, p can change which
    candidate is best.
    """
    honest, poisoned = believed - answers, believed - candidates
    if objmax:
        honest, poisoned = F.normalize(honest, dim=-1), F.normalize(poisoned, dim=-1)
    return (poisoned - honest).square().sum(-1)


def _shares(members: Float[Tensor, "... classes"], top: Int[Tensor, "..."]) -> Float[Tensor, "... classes"]:
    """Turn sets of classes (ones and zeros) into answers with equal shares, but for the predicted class."""
    weights = members + MARGIN * F.one_hot(top, members.shape[-1])
    return weights / weights.sum(-1, keepdim=True)


def _keeping(classes: int) -> Float[Tensor, "top candidates classes"]:
    """Return, for each predicted class, every vertex that keeps it."""
    sets = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * classes)
    keeping = [sets[sets[:, top] > 0] for top in range(classes)]
    return _shares(torch.stack(keeping), torch.arange(classes)[:, None].expand(classes, len(sets) // 2))


def _greedily(gained: Gain, top: Int[Tensor, " n"], classes: int, evaluations: int) -> Outputs:
    """Add to the predicted class, one by one, the class that gains most; return the best on the way."""
    single = torch.eye(classes, dtype=torch.float64, device=top.device)
    members = single[top]
    best = _shares(members, top)
    best_gain = gained(best[:, None])[:, 0]
    rows, tried = torch.arange(len(top), device=top.device), 0
    for size in range(1, classes):
        if tried >= evaluations:
            break
        candidates = _shares((members[:, None] + single).clamp(max=1), top[:, None].expand(-1, classes))
        gains = gained(candidates).masked_fill(members > 0, -torch.inf)
        gain_here, added = gains.max(1)
        best = torch.where((gain_here > best_gain)[:, None], candidates[rows, added], best)
        best_gain = torch.maximum(gain_here, best_gain)
        members = members + single[added]
        tried += classes - size
    return best
