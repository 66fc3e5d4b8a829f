"""A Ray cluster: the one of `$RAY_ADDRESS`, or one started on this machine."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import torch

from redhanded.errors import RedhandedError
from redhanded.experiments.runner.context import Cell, Context
from redhanded.experiments.runner.local import jobs_of
from redhanded.experiments.runner.run import Engine
from redhanded.experiments.runner.scheduler import Lost, WorkerDiedError, in_parallel
from redhanded.experiments.runner.worker import task_of, work
from redhanded.lab.data.archive import ENVIRONMENT, data_root

ADDRESS = "RAY_ADDRESS"
HERE = "local"
"""The address that starts a cluster; without it Ray would join whatever runs on this machine."""
SHARED_MEMORY = 128 * 2**20
"""Bytes of a local cluster's object store: cells travel through it, their results do not."""
REACHED = 10.0
"""Seconds within which a cluster must take a connection; Ray itself tries for many minutes, and is silent."""


def cluster(jobs: int | None, device: torch.device, lost: Lost) -> Engine:
    """Return what measures `jobs` cells at once as Ray tasks; by default as many as the cluster takes.

    A cell takes one processor core, and one GPU if the device is one. Every machine needs redhanded[lab], and
    the folders of records and artefacts under the same names.

    Raises:
        RedhandedError: Ray is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported unless the user says so
    try:
        import ray
    except ModuleNotFoundError as error:
        raise RedhandedError("engine: ray is not installed; pip install 'redhanded[ray]'") from error
    return partial(in_parallel, opened=partial(joined, ray, jobs, device), lost=lost)


@contextmanager
def joined(
    ray: Any, jobs: int | None, device: torch.device, context: Context, stop: float | None
) -> Iterator["Cluster"]:
    """Yield an executor on the cluster; cancel what still runs, and leave, at the end."""
    address = os.environ.get(ADDRESS) or HERE
    own: dict[str, Any] = {}
    if address == HERE:
        own = {"include_dashboard": False, "object_store_memory": SHARED_MEMORY}
        if device.type == "cpu":
            own["num_cpus"] = jobs or jobs_of(device)
    try:
        _reach(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (OSError, RuntimeError, ValueError) as error:
        raise RedhandedError(
            f"engine: cannot join the Ray cluster at {address} ({str(error).splitlines()[0]}); start it, "
            f"give Ray its token if it asks for one, or unset {ADDRESS}"
        ) from error
    try:
        with closing(Cluster(ray, jobs, device, context, stop)) as executor:
            yield executor
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """Raise `OSError` if nobody listens at host:port; other addresses are Ray's to look up."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    if parts.hostname is not None and parts.port is not None:
        socket.create_connection((parts.hostname, parts.port), timeout=REACHED).close()


class Cluster:
    """One Ray task a cell. Ray retries none: a cell whose worker died is the scheduler's to hand out."""

    def __init__(
        self, ray: Any, jobs: int | None, device: torch.device, context: Context, stop: float | None
    ) -> None:
        """Look at what the cluster has; raises `RedhandedError` if it has no such device."""
        self._ray, self._context, self._stop = ray, context, stop
        self._device = device.type  # a task sees only the GPU it was given
        unit = "CPU" if device.type == "cpu" else "GPU"
        has = ray.cluster_resources()
        units = int(has.get(unit, 0))
        if units == 0:
            raise RedhandedError(f"device: the Ray cluster has no {unit}; use another --device")
        self.slots = jobs or units
        self._threads = max(1, int(has.get("CPU", 1)) // units)
        gpus = 0 if device.type == "cpu" else 1
        self._work = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(work)
        self._running: dict[Any, Cell] = {}

    def start(self, cell: Cell) -> None:
        task = task_of(
            cell,
            self._context,
            self._stop,
            device=self._device,
            threads=self._threads,
            data=str(data_root().resolve()) if ENVIRONMENT in os.environ else None,
        )
        self._running[self._work.options(name=cell.label).remote(task)] = cell

    def ended(self, patience: float | None) -> tuple[Cell, Exception | None] | None:
        ready, _ = self._ray.wait(list(self._running), timeout=patience)
        if not ready:
            return None
        cell = self._running.pop(ready[0])
        try:
            error: Exception | None = self._ray.get(ready[0])
        except self._ray.exceptions.RayTaskError as failure:  # it did not come to measuring
            last = str(failure).splitlines()[-1]
            return cell, RedhandedError(
                f"engine: a Ray worker cannot run {cell.label} ({last}); every machine needs this version of "
                "redhanded[lab]"
            )
        except self._ray.exceptions.RayError as failure:
            return cell, WorkerDiedError(str(failure).splitlines()[0])
        return cell, error

    def close(self) -> None:
        for task in self._running:
            self._ray.cancel(task, force=True)
