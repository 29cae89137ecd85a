"""The operating-system user that Postgres runs as, and the files and processes of that user."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from msgspec import Struct

from registry.errors import PostgresUnavailable
from registry.infra.problems import PostgresProblem


class User(Struct, frozen=True):
    """The user that Postgres runs as. Postgres refuses uid 0, so root starts it as another user."""

    uid: int
    gid: int

    @property
    def other(self) -> bool:
        """Whether this is not the user of this process."""
        return self.uid != os.geteuid()

    @classmethod
    def for_data_dir(cls, pgdata: Path | None = None) -> Self:
        """The user of the server in `pgdata`: this process's; for root the folder's owner or an unprivileged one."""
        if os.geteuid() != 0:
            return cls(os.geteuid(), os.getegid())
        if pgdata is not None and pgdata.exists():
            owner = pgdata.stat()
            if owner.st_uid != 0:
                return cls(owner.st_uid, owner.st_gid)
        for name in ("registry", "nobody"):
            with suppress(KeyError):
                known = pwd.getpwnam(name)
                return cls(known.pw_uid, known.pw_gid)
        return cls(65_534, 65_534)


def environment() -> dict[str, str]:
    # Not the service's environment, which may contain keys.
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def run(command: list[str], user: User, keep: tuple[int, ...] = (), text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        command,
        input=text,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        env=environment(),
        pass_fds=keep,
        check=False,
        user=user.uid if user.other else None,
        group=user.gid if user.other else None,
        extra_groups=() if user.other else None,
    )


def chown(top: Path, user: User) -> None:
    os.chown(top, user.uid, user.gid)
    for folder, folders, files in os.walk(top):
        for name in folders + files:
            os.chown(Path(folder, name), user.uid, user.gid, follow_symlinks=False)


def write_secret(path: Path, content: bytes) -> None:
    aside = path.with_name(path.name + ".new")
    aside.unlink(missing_ok=True)
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(fd)
    aside.replace(path)


@contextmanager
def accessible_path(folder: Path, user: User) -> Iterator[tuple[str, tuple[int, ...]]]:
    """A path by which `user` can use `folder`, and the file descriptors that a child process must inherit for it.

    Another user cannot reach a folder below one that only root may enter by its path, but can by a descriptor that
    root has opened: on Linux as `/proc/self/fd/N`, which checks no parent folder (proc(5)).
    """
    if not user.other:
        yield str(folder), ()
        return
    if sys.platform != "linux":
        for parent in folder.resolve().parents:
            if not parent.stat().st_mode & 0o001:
                raise PostgresUnavailable(reason=PostgresProblem("directory_closed", directory=str(parent)))
        yield str(folder), ()
        return
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}", (fd,)
    finally:
        os.close(fd)
