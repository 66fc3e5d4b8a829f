"""The sets that a thief may draw its seeds from: the rows of Tables IV to VI, VIII, IX, XIV and XV."""

from collections.abc import Mapping
from dataclasses import dataclass

from redhanded.experiments.cells.datasets import Archived, Composed, Data


@dataclass(frozen=True)
class QuerySet:
    """A row's images, or why there are none; never something else under the same name."""

    data: Data | None
    images: int = 0
    """How many are at hand."""
    sent: tuple[Data, ...] = ()
    """What an honest user of the set sends; by default the set."""
    absent: str = ""

    @property
    def benign(self) -> tuple[Data, ...]:
        return self.sent or (() if self.data is None else (self.data,))

    def lacks(self, seeds: int) -> str:
        """Return why `seeds` images cannot be drawn; nothing if they can."""
        if self.data is None:
            return self.absent
        return "" if self.images >= seeds else f"{self.images:,} of {seeds:,} images at hand"


CIFAR10_QUERY_SETS: Mapping[str, QuerySet] = {
    "CIFAR10": QuerySet(Archived("cifar10", "train"), 50_000),
    "TinyImageNet": QuerySet(
        Archived("tinyimagenet", "train"),
        40_000,
        sent=(Archived("tinyimagenet", "train", without="in_cinic10_like"),),
    ),
    "ImageNet1k": QuerySet(Archived("imagenet1k", "train"), 6_000),
    "CIFAR100": QuerySet(Archived("cifar100", "train"), 10_000),
    "SVHN": QuerySet(Archived("svhn", "train"), 1_083),
    "CINIC10": QuerySet(Archived("cinic10", "train"), 2_000),
    "Indoor67": QuerySet(None, absent="not at hand"),
    "CUBS200": QuerySet(None, absent="CUB-200-2011 not at hand"),
    "Caltech256": QuerySet(None, absent="not at hand"),
}
"""The paper's nine, the victim's own first, with what of each the archives hold."""

DEMO_QUERY_SETS: Mapping[str, QuerySet] = {
    "digits": QuerySet(
        Composed("digits", "thief", 5_000), 5_000, sent=(Composed("digits", "test", 10_000, seed=1),)
    ),
    **{
        name: QuerySet(Composed(name, "thief", 5_000), 5_000, sent=(Composed(name, "test", 10_000),))
        for name in ("other-digits", "grey-digits", "photos")
    },
}
"""Sets less and less like the victim's; honest users' images are others than the thief's."""
