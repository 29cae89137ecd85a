"""Write files so that they survive a crash."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_durably(path: Path, text: str, mode: int) -> None:
    """Replace the file's content atomically. Returns once it would survive a power failure."""
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                os.fchmod(file.fileno(), mode)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        os.fsync(directory)
    finally:
        os.close(directory)
