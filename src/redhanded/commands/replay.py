"""`redhanded replay`."""

from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from redhanded.commands import options
from redhanded.detectors import load_bundle
from redhanded.detectors.intervals import Replay, rates
from redhanded.errors import RedhandedError
from redhanded.experiments.measure.querylog import QueryLog
from redhanded.experiments.measure.replay import replay as replay_stream
from redhanded.lab.data.folder import read_images


def replay(
    stream: Annotated[
        Path, Argument(help="A query log that `redhanded attack` wrote (…/log), or a folder of images.")
    ],
    detector: Annotated[Path, Option(help="Bundle of a calibrated detector.")],
    mode: options.ModeName = "paper",
    as_json: options.Json = False,
) -> None:
    """Send a recorded query stream before a detector, and count flags, bans and accounts.

    A query log keeps its order; a folder of images is sent in the order of its paths, as one user.
    """
    if not stream.is_dir():
        raise RedhandedError(f"stream: {stream} is no folder; give a query log or a folder of images")
    judge = load_bundle(detector)
    settled = options.chosen(options.MODES, mode, "mode")
    if (stream / "images.npy").is_file():
        log = QueryLog.load(stream)
        images, outputs = log.images, log.outputs
    else:
        images, outputs = read_images(stream).images, None
    found = replay_stream(judge, images, outputs, settled)
    record: dict[str, Any] = {
        "kind": "detection",
        "queries": len(images),
        "judged": len(found.counts),
        "flags": found.flags,
        "bans": len(found.bans),
        "accounts_used": found.accounts_used,
    }
    record |= rates(Replay(found.counts, found.bans), judge.flags_to_ban)
    # what the stream earned per query; only an honest stream's is a false-positive rate
    record["ban_rate"] = record.pop("fpr")
    record["ban_rate_low"], record["ban_rate_high"] = record.pop("fpr_low"), record.pop("fpr_high")
    columns = ("queries", "flags", "flag rate", "bans", "accounts used")
    table = options.sheet("What the detector saw", columns)
    table.add_row(
        f"{record['queries']:,}",
        str(found.flags),
        f"{record['flag_rate']:.2%}",
        str(len(found.bans)),
        str(found.accounts_used),
    )
    options.say([table], record, as_json=as_json)
