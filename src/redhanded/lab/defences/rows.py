"""What defences that alter single probabilities share."""

from redhanded.lab.types import Outputs


def renormalised(outputs: Outputs) -> Outputs:
    """Return non-negative rows [n, classes] divided by their sums; a row of zeros says nothing: uniform."""
    totals = outputs.sum(1, keepdim=True)
    return (outputs / totals).where(totals > 0, 1 / outputs.shape[1])
