"""Images: the archive format, the paper's nine data sets, seeds, and a demo set that needs no download."""

from redhanded.lab.data.archive import available, data_root, load, read_archive, write_archive
from redhanded.lab.data.fetch import fetch
from redhanded.lab.data.images import ImageSet
from redhanded.lab.data.seeds import balanced_indices, uniform_indices
from redhanded.lab.data.sources import SOURCES, Download, Source

__all__ = [
    "SOURCES",
    "Download",
    "ImageSet",
    "Source",
    "available",
    "balanced_indices",
    "data_root",
    "fetch",
    "load",
    "read_archive",
    "uniform_indices",
    "write_archive",
]
