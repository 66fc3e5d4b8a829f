"""Which bundle stands behind a measured figure."""

from collections.abc import Callable, Iterable

from redhanded.detectors.bundle import short
from redhanded.experiments.cells import Calibrate, Detect, Honest, Tune, Watched
from redhanded.experiments.cells.tuned import digest_of
from redhanded.experiments.runner.context import Cell
from redhanded.experiments.runner.store import Store

NOT_RECORDED = "not recorded"
Behind = Callable[[Cell], str | None]
"""Names the bundle behind a cell; None for what no detector judged, or what was not measured."""


def bundles(store: Store) -> Behind:
    """Return what tells the digest of the bundle behind a cell of a store.

    It is the record's; for a record that has none it is that of the calibration, of its record or else of
    the bundle that is here; `NOT_RECORDED` where nothing tells.
    """
    known: dict[Cell, str | None] = {}

    def calibrated(cell: Cell) -> str | None:
        if cell not in known:
            record, artefact = store.record(cell) or {}, store.artefact(cell)
            here = {} if artefact is None else digest_of(artefact)
            known[cell] = record.get("bundle_digest") or here.get("bundle_digest")
        return known[cell]

    def behind(cell: Cell) -> str | None:
        calibration, record = _calibration(cell), store.record(cell)
        if calibration is None or record is None:
            return None
        return record.get("bundle_digest") or calibrated(calibration) or NOT_RECORDED

    return behind


def _calibration(cell: Cell) -> Cell | None:
    """Return what tuned the detector behind the cell's figures; of several that watch, the first one's."""
    if isinstance(cell, Calibrate | Tune):
        return cell
    if isinstance(cell, Detect | Honest):
        return cell.calibration
    return next(iter(cell.judges), None) if isinstance(cell, Watched) else None


def abbreviated(digest: str) -> str:
    return digest if digest == NOT_RECORDED else short(digest)


def named(cells: Iterable[Cell], behind: Behind) -> str:
    """Return short digests of the bundles behind cells, each once; empty where no detector judged."""
    found = dict.fromkeys(digest for cell in cells if (digest := behind(cell)) is not None)
    return ", ".join(map(abbreviated, found))
