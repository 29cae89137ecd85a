"""The operating-system user that Postgres runs as, and the files and processes of that user."""

from __future__ import annotations

import grp
import os
import pwd
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from msgspec import Struct

from registry.errors import PostgresUnavailable
from registry.infra.embedded import account
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
        """The user of the server in `pgdata`: this process's; for root one that nothing else has.

        A process of the same user could read the server's files and connect as superuser, so a shared user such as
        `nobody` is never taken, and the owner of an existing folder only while no account has it.

        Raises:
            PostgresUnavailable: This process is root, and every user is taken.
        """
        if os.geteuid() != 0:
            return cls(os.geteuid(), os.getegid())
        if pgdata is not None and pgdata.exists():
            owner = pgdata.stat()
            if owner.st_uid != 0 and not _has_account(owner.st_uid, owner.st_gid):
                return cls(owner.st_uid, owner.st_gid)
        return cls.unused()

    @classmethod
    def unused(cls) -> Self:
        """A user without an account, a group and a process. Raises PostgresUnavailable if there is none."""
        running = _users_of_processes()
        # At random, so that the servers of two directories do not share one either.
        for uid in random.sample(PRIVATE_USERS, len(PRIVATE_USERS)):
            if uid not in running and not _has_account(uid, uid) and _is_mapped(uid):
                return cls(uid, uid)
        raise PostgresUnavailable(reason=PostgresProblem("no_private_user"))


# Below those of systemd and of containers, above those that accounts get (systemd, "Users, Groups, UIDs and GIDs").
PRIVATE_USERS = range(59_000, 60_000)


def _has_account(uid: int, gid: int) -> bool:
    with suppress(KeyError):
        pwd.getpwuid(uid)
        return True
    with suppress(KeyError):
        grp.getgrgid(gid)
        return True
    return False


def _users_of_processes() -> set[int]:
    """The users of all running processes; none where there is no /proc."""
    users = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            users.add(entry.stat().st_uid)
    return users


def _is_mapped(uid: int) -> bool:
    """Whether a user exists in this process's namespace (user_namespaces(7))."""
    try:
        lines = Path("/proc/self/uid_map").read_text().splitlines()
    except OSError:
        return True
    ranges = [tuple(map(int, line.split())) for line in lines]
    return any(first <= uid < first + count for first, _, count in ranges)


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


def run_with_account(
    command: list[str], user: User, keep: tuple[int, ...] = (), text: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a program that needs an account of its user's number, as a user who may have none.

    Raises:
        PostgresUnavailable: This process is root and may not make a user namespace.
    """
    if not user.other or _has_account(user.uid, user.gid):
        return run(command, user, keep, text)
    ours = User(os.geteuid(), os.getegid())
    script = [sys.executable, "-I", "-S", account.__file__, str(user.uid), str(user.gid)]
    done = run([*script, *command], ours, keep, text)
    if done.returncode == account.NO_NAMESPACE:
        raise PostgresUnavailable(reason=PostgresProblem("no_private_user"))
    return done


def chown(top: Path, user: User) -> None:
    os.chown(top, user.uid, user.gid)
    for folder, folders, files in os.walk(top):
        for name in folders + files:
            os.chown(Path(folder, name), user.uid, user.gid, follow_symlinks=False)


def write_secret(path: Path, content: bytes) -> None:
    aside = path.with_name(path.name + ".new")
    aside.unlink(missing_ok=True)
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(fd)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


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
