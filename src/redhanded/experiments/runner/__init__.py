"""The runner: measures each cell once, here, in several processes or on a cluster, and keeps its record."""
