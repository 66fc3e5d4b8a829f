"""The victim as an oracle: what it gives away, how often it was asked, and how often it may be."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import nn

from redhanded.errors import BudgetExhaustedError, RedhandedError
from redhanded.lab.training import predict
from redhanded.lab.types import Images, Oracle, Outputs
from redhanded.types import ImageArray, OutputArray


class Logits:
    """Answer with the model's raw outputs, float32."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def __call__(self, images: Images) -> Outputs:
        return predict(self.model, images)


class Probabilities(Logits):
    """Answer with the softmax of the model's outputs."""

    def __call__(self, images: Images) -> Outputs:
        return super().__call__(images).softmax(1)


class HardLabels(Logits):
    """Answer with the predicted class alone, as one-hot rows: the paper's setting (§II-B)."""

    def __call__(self, images: Images) -> Outputs:
        logits = super().__call__(images)
        return F.one_hot(logits.argmax(1), logits.shape[1]).float()


class Soft:
    """Refuse an oracle that gives labels where probabilities are needed; its first answers tell.

    What it has answered by then is spent; nothing else is asked.
    """

    def __init__(self, oracle: Oracle, who: str) -> None:
        self.oracle, self.who = oracle, who
        self._known = False

    def __call__(self, images: Images) -> Outputs:
        """Return probabilities; raises `RedhandedError` if all of the first batch are one-hot."""
        answers = self.oracle(images)
        if not self._known and len(answers):
            self._known = True  # looked at once: to look is to wait for the device
            if bool(((answers == 0) | (answers == 1)).all()):
                raise RedhandedError(
                    f"oracle: it answers with labels alone, and {self.who} needs probabilities; choose an "
                    "attack that needs labels, or a victim that tells more"
                )
        return answers


class Budgeted:
    """Count an oracle's queries exactly, and refuse a call that would exceed the budget before sending it."""

    def __init__(self, oracle: Oracle, budget: int | None = None) -> None:
        self.oracle = oracle
        self.budget = budget  # None: count only
        self.queries = 0

    def __call__(self, images: Images) -> Outputs:
        """Return the outputs; raises `BudgetExhaustedError`, nothing sent, if they would be too many."""
        if self.budget is not None and self.queries + len(images) > self.budget:
            raise BudgetExhaustedError(
                f"budget: {len(images)} more queries after {self.queries} would exceed {self.budget}; "
                "raise the budget or ask for fewer"
            )
        outputs = self.oracle(images)
        self.queries += len(images)
        return outputs


def as_numpy(oracle: Oracle, device: torch.device | str = "cpu") -> Callable[[ImageArray], OutputArray]:
    """Return the oracle as the guard calls its victim: float32 arrays in and out."""

    def victim(images: ImageArray) -> OutputArray:
        copied = torch.tensor(images, device=device)  # some are read-only
        return np.asarray(oracle(copied).cpu().numpy())

    return victim
