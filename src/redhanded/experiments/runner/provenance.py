"""Where and with what a record was measured."""

import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import torch

import redhanded


def provenance(device: torch.device) -> dict[str, Any]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "revision": revision(),
        "redhanded": redhanded.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": f"{device.type} ({name}, {torch.get_num_threads()} threads)",
    }


@cache
def revision() -> str:
    """Return the commit of redhanded's own checkout, with `+` if it was changed; "unknown" outside one.

    A foreign repository that contains the installation, such as one with a venv inside, is no such checkout.
    """
    here = Path(__file__).resolve()
    try:
        top = Path(_git(here.parent, "rev-parse", "--show-toplevel")).resolve()
        if here.parents[2] != top / "src" / "redhanded":
            return "unknown"
        _git(here.parent, "ls-files", "--error-unmatch", here.name)
        return _git(here.parent, "describe", "--always", "--dirty=+", "--abbrev=12")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)  # noqa: S603 - fixed words
    return done.stdout.strip()
