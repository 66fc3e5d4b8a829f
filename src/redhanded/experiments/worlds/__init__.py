"""The worlds: at what size everything is measured."""

from collections.abc import Callable, Mapping

from redhanded.experiments.worlds.demo import demo
from redhanded.experiments.worlds.paper import paper
from redhanded.experiments.worlds.small import small
from redhanded.experiments.worlds.world import World

WORLDS: Mapping[str, Callable[[], World]] = {"demo": demo, "small": small, "paper": paper}
"""The worlds by the names that arrive from outside."""
