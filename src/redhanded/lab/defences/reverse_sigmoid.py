"""Reverse sigmoid: push every probability back towards the middle (Lee et al., as released with MAD)."""

from dataclasses import dataclass

from redhanded.errors import RedhandedError
from redhanded.lab.defences.rows import renormalised
from redhanded.lab.types import Images, Oracle, Outputs


@dataclass(frozen=True)
class ReverseSigmoid:
    """y - beta (sigmoid(gamma logit(y)) - 1/2), cut off at 0 and divided by its sum.

    The defaults are those of the released code, and with them every answer is uniform: at gamma = 1 the
    sigmoid undoes the logit, y - (y - 1/2) = 1/2 for every class, and the argmax is rounding noise.
    ModelGuard's example uses beta 0.008 and gamma 0.2. The released code does not cut off at 0; with beta up
    to 1 nothing is negative.
    """

    oracle: Oracle
    beta: float = 1.0
    gamma: float = 1.0

    def __post_init__(self) -> None:
        if self.beta < 0:
            raise RedhandedError(f"beta: {self.beta} must be at least 0")
        if self.gamma <= 0:
            raise RedhandedError(f"gamma: {self.gamma} must be above 0; beta=0 switches the defence off")

    def __call__(self, images: Images) -> Outputs:
        outputs = self.oracle(images)
        # probabilities of exactly 0 and 1 have infinite logits, of which the sigmoid is 0 and 1 again
        pushed = outputs - self.beta * ((self.gamma * outputs.logit()).sigmoid() - 0.5)
        return renormalised(pushed.clamp(min=0))
