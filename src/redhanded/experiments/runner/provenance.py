"""Where and with what a record was measured."""

import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import torch

import redhanded


def provenance(device: torch.device) -> dict[str, Any]:
    """Return where and with what a record was measured."""
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
    """Return the commit of the source tree, with `+` if it was changed; "unknown" outside a checkout."""
    here = Path(__file__).resolve().parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12"],  # noqa: S607 - the user's own git
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return described.stdout.strip()
