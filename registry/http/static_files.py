"""Files of the package that are served as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from litestar import Router
from litestar.file_system import BaseLocalFileSystem
from litestar.static_files import create_static_files_router
from litestar.types import FileInfo, PathType


class _Folder(BaseLocalFileSystem):
    """The local files. A name that no file can have is one that no file has, where Litestar answers 500."""

    async def info(self, path: PathType, **_: Any) -> FileInfo:
        try:
            return await super().info(path)
        except (OSError, ValueError) as error:
            raise FileNotFoundError from error


def static_files_router(path: str, *folders: Path, **options: Any) -> Router:
    """Serve the files of folders below a path."""
    return create_static_files_router(path, directories=list(folders), file_system=_Folder(), **options)
