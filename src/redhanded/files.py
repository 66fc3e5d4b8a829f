"""Files that a later start trusts: they appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def _umask() -> int:
    """Return the process's umask, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


MODE = 0o666 & ~_umask()
"""What `open` would give a new file; safetensors' writer keeps its files to their owner."""


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a name beside `path` to write to; the file takes its place once it is written.

    After an error, or a kill, `path` is what it was.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.chmod(MODE)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
