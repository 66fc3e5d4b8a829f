"""Give away less of each answer: fewer decimals, fewer classes, or the label alone."""

from dataclasses import dataclass

import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by

from redhanded.errors import RedhandedError
from redhanded.lab.defences.rows import renormalised
from redhanded.lab.types import Images, Oracle, Outputs


@dataclass(frozen=True)
class ArgmaxOf:
    """The predicted class alone, as one-hot rows: a thief with hard labels meets the defence underneath.

    `HardLabels` is this of an undefended model. Of equal probabilities the first class wins.
    """

    oracle: Oracle

    def __call__(self, images: Images) -> Outputs:
        outputs = self.oracle(images)
        return F.one_hot(outputs.argmax(1), outputs.shape[1]).to(outputs.dtype)


@dataclass(frozen=True)
class Rounded:
    """Probabilities rounded to `decimals`, then divided by their sum, as rounded rows seldom sum to 1.

    Rounding can tie the first classes, so that the argmax changes; a row that rounds to nothing (many
    classes, few decimals) is answered uniformly.
    """

    oracle: Oracle
    decimals: int = 2

    def __post_init__(self) -> None:
        if self.decimals < 1:
            raise RedhandedError(f"decimals: {self.decimals} must be at least 1; for labels use ArgmaxOf")

    def __call__(self, images: Images) -> Outputs:
        return renormalised(self.oracle(images).round(decimals=self.decimals))


@dataclass(frozen=True)
class TopK:
    """The `k` largest probabilities as they are; what is left is spread evenly over the other classes.

    The argmax stays, as the mean of the rest is at most their largest.
    """

    oracle: Oracle
    k: int = 1

    def __post_init__(self) -> None:
        if self.k < 1:
            raise RedhandedError(f"k: {self.k} must be at least 1")

    def __call__(self, images: Images) -> Outputs:
        outputs = self.oracle(images)
        # a stable order, so that of equal classes the one that argmax names is kept
        others = outputs.argsort(stable=True, dim=1, descending=True)[:, self.k :]
        spread = outputs.gather(1, others).mean(1, keepdim=True) if others.shape[1] else outputs[:, :0]
        return outputs.scatter(1, others, spread.expand(others.shape))
