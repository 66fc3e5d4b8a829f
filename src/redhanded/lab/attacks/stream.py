"""Queries that are sent, used once and forgotten."""

import torch
from torch import Tensor

from redhanded.errors import RedhandedError
from redhanded.lab.attacks.exchange import Exchange
from redhanded.lab.types import Adaptation, Images, Kind, Oracle
from redhanded.types import Bool, Int


class Stream:
    """Sends as `Transfer` does and remembers nothing: 20 million images would not fit."""

    def __init__(
        self, oracle: Oracle, adapt: Adaptation, budget: int, sent: int = 0, classes: int = 0
    ) -> None:
        self._oracle, self._adapt, self._budget = oracle, adapt, budget
        self.sent = sent  # by an earlier stream, if it goes on from there
        self.classes = classes
        """Of the last answers; 0 before there were any."""

    @property
    def left(self) -> int:
        return self._budget - self.sent

    def send(
        self, crafted: Images, kind: Kind, parents: Int[Tensor, " n"] | None = None
    ) -> tuple[Exchange, Bool[Tensor, " n"]]:
        """Adapt and query at most `left` images, whose parents are places among them.

        Returns the exchange, and which rows were kept; with all kept, nothing waits for the device.
        """
        keep, sent = self._adapt(crafted, kind)
        if len(sent) == len(crafted):
            keep = torch.ones(len(crafted), dtype=torch.bool)
        else:
            crafted, keep = crafted[keep.to(crafted.device)], keep.cpu()
        sent = sent.clamp(0, 1)
        if len(sent) > 0:
            labels = self._oracle(sent)
            if bool(labels.isnan().any()):
                raise RedhandedError(
                    "oracle: some queries were refused for good, and a data-free attack cannot do without "
                    "their answers; guard it in mode paper"
                )
            self.classes = labels.shape[1]
        else:  # nobody asks about nothing
            labels = crafted.new_empty(0, self.classes)
        unknown = torch.full((int(keep.sum()),), -1)
        origins = unknown
        if parents is not None:
            place = torch.where(keep, self.sent + keep.cumsum(0) - 1, -1)
            origins = torch.where(parents[keep] < 0, -1, place[parents[keep]])
        self.sent += len(sent)
        return Exchange(crafted, sent, labels, origins, unknown, kind), keep
