"""What a defence costs the honest user."""

from torch import Tensor

from redhanded.lab.types import Images, Oracle
from redhanded.types import Int


def utility(defended: Oracle, plain: Oracle, images: Images, labels: Int[Tensor, " n"]) -> dict[str, float]:
    """Compare a defended oracle with the plain one on images [n, c, h, w] and their classes.

    Returns `accuracy` of the defended oracle's argmax, `accuracy_change` (below 0: the defence costs
    accuracy), and `l1_mean`, `l1_max`: how far a row of answers moves, from 0 to 2 where both give
    probabilities.
    """
    served, honest = defended(images), plain(images)
    accuracy, before = ((rows.argmax(1) == labels).double().mean().item() for rows in (served, honest))
    moved = (served - honest).abs().sum(1)
    return {
        "accuracy": accuracy,
        "accuracy_change": accuracy - before,
        "l1_mean": moved.mean().item(),
        "l1_max": moved.max().item(),
    }
