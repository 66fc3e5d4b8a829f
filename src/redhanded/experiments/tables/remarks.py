"""What to know of each table before comparing it with the paper's: what differs by construction.

Nothing here is a finding: findings are figures, and figures come from records.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Remark:
    """Where the paper has a table, and what differs from it."""

    section: str
    differs: str
    smaller: str = ""
    """What differs besides in a world that is smaller than the paper's."""


FEWER = (
    "Fewer seeds, fewer queries and a smaller network: rows compare with one another, not with the paper's."
)
BANS = (
    "An account is closed by its 50th flagged query, so a theft costs at most a fiftieth of its queries in "
    "accounts: with a smaller budget the published counts are out of reach."
)
ABSENT = "Sets that are not at hand, or hold too few images, stay empty; none is replaced by another."
ADAPTIVE = (
    "What each adaptation does: [adaptive attacks](adaptive.md). The paper also trains the filter's detector "
    "on the whole of CINIC-10, which is not at hand."
)
RESNET = "Victim and surrogate are those of the other tables, where the paper's are a ResNet34-8x each."
THIEF = "The thief's own detector and auto-encoder learn from fewer images. " + BANS
LIKELIHOOD = (
    "The threshold is tuned to the same rate of 0.01%, but on the stream that tunes every detector of this "
    "project, near-duplicates taken out."
)
YOUNGER = "The VQ-VAE is trained for fewer updates of smaller batches."

REMARKS: Mapping[str, Remark] = {
    "i": Remark(
        "IV-B1",
        "Where the paper's text and its code disagree, the attacks follow the text "
        "([decisions](decisions.md)). The paper's surrogates start from ImageNet weights.",
        FEWER,
    ),
    "ii": Remark("IV-B1", "As Table I, from more seeds and with the same budget.", FEWER),
    "iii": Remark(
        "IV-B1",
        "One theft; the accuracy is that of the last round that had ended by then.",
        f"{RESNET} The generator is narrower and its batches are smaller.",
    ),
    "iv": Remark(
        "IV-C",
        f"One seed a cell. Seeds of the victim's own set are balanced over its classes, those of other sets "
        f"are drawn from all. {ABSENT}",
        FEWER,
    ),
    "v": Remark("IV-C", f"As Table IV, from more seeds. {ABSENT}", FEWER),
    "vi": Remark(
        "IV-C",
        "Random sampling sends the whole budget, or all images of a set that holds fewer, as the paper's "
        "smallest three do; the note says how many.",
        FEWER,
    ),
    "vii": Remark(
        "VIII-A2",
        "The threshold is tuned to the paper's rate of 0.01%, on the benign images named above. `per-pair` "
        "is the loss of Equation 6, `released` that of the paper's code. Accounts are bans; read them beside "
        "the benign floor.",
        BANS,
    ),
    "viii": Remark("VIII-A2", f"As Table VII with `per-pair`, one seed a cell. {ABSENT}", BANS),
    "ix": Remark(
        "VIII-A2",
        "Bans over benign queries: an honest user sends every image at hand. Some sets are smaller here than "
        "the paper's, so that a single ban weighs more. Images that tuned the threshold are no test of it; "
        "where a world holds others back, they have a row of their own.",
    ),
    "x": Remark("VIII-A3", ADAPTIVE, THIEF),
    "xi": Remark("VIII-A3", ADAPTIVE, THIEF),
    "xii": Remark("VIII-A3", f"{ADAPTIVE} Seeds come from the set most like the victim's own.", THIEF),
    "xiii": Remark(
        "VIII-A3",
        "As in the paper, the student's queries are adapted, and those that measure gradients are not.",
        f"{RESNET} {BANS}",
    ),
    "xiv": Remark(
        "VIII-B3",
        f"The paper counts the account that is still open at the end, so 1 means never caught. {LIKELIHOOD} "
        f"{ABSENT}",
        f"{YOUNGER} The detector judges from an account's 50th query on: again at most one account for every "
        "50 queries.",
    ),
    "xv": Remark(
        "VIII-B3",
        f"{LIKELIHOOD} Of the victim's own set, images that tuned nothing are sent; the paper sends those "
        "that tuned it.",
        YOUNGER,
    ),
}
"""By table, in the paper's order."""
