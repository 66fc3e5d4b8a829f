"""Where cells run: in this process, in several of this machine, or on a Ray cluster."""

from redhanded.experiments.engines.cluster import cluster
from redhanded.experiments.engines.local import local
from redhanded.experiments.engines.scheduler import Lost

__all__ = ["Lost", "cluster", "local"]
