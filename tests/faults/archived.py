"""A Postgres of the system with an archive and backups of pgBackRest, configured by the files in deploy/pgbackrest.

Not the bundled server: pgBackRest knows each major version of Postgres, and Debian's knows Debian's.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from registry.infra.embedded.user import User, chown, environment, run
from tests.faults.test_faults import a_free_port

DEPLOY = Path(__file__).parents[2] / "deploy" / "pgbackrest"
OWNER = "registry_owner"


def system_postgres() -> Path | None:
    """The programs of the newest Postgres in Debian's folders."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


def _user() -> User:
    """A user with an account, whom initdb and pgBackRest look up: that of Debian's package, if this is root."""
    if os.geteuid() == 0:
        with suppress(KeyError):
            known = pwd.getpwnam("postgres")
            return User(known.pw_uid, known.pw_gid)
    return User(os.geteuid(), os.getegid())


class ArchivedServer:
    """The server, its repository, and the commands of an operator."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        self.folder, self.data, self._binaries = folder, folder / "data", binaries
        self.port = a_free_port()
        self._user = _user()
        words = {
            "REPOSITORY": folder / "repository",
            "PASSPHRASE": "the passphrase of this run",
            "LOGS": folder / "logs",
            "LOCKS": folder / "locks",
            "DATA": self.data,
            "PORT": self.port,
            "SOCKETS": folder,
            "OWNER": OWNER,
            "CONFIG": folder / "pgbackrest.conf",
        }
        for name in ("repository", "logs", "locks"):
            (folder / name).mkdir()
        for name in ("pgbackrest.conf", "postgresql.conf"):
            text = re.sub(r"@([A-Z]+)@", lambda word: str(words[word[1]]), (DEPLOY / name).read_text())
            (folder / name).write_text(text)
        chown(folder, self._user)
        self._command(
            str(binaries / "initdb"), "-D", str(self.data), "-U", OWNER, "-E", "UTF8", "--locale=C.UTF-8", "-k"
        )

    @property
    def owner_url(self) -> str:
        """The superuser's URL."""
        return self.url(OWNER)

    def url(self, role: str, database: str = "registry") -> str:
        """The URL of a role."""
        return f"postgresql://{role}@127.0.0.1:{self.port}/{database}?sslmode=disable"

    def _command(self, *words: str) -> str:
        done = run(list(words), self._user)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def pgbackrest(self, *words: str) -> str:
        """Run pgBackRest as the user of Postgres."""
        program = shutil.which("pgbackrest") or "pgbackrest"
        return self._command(program, f"--config={self.folder / 'pgbackrest.conf'}", "--stanza=registry", *words)

    def set_aside(self) -> Path:
        """Keep the data directory under another name: it may have what the restored one lacks."""
        aside = self.data.with_name("data.before")
        self.data.rename(aside)
        self.data.mkdir(mode=0o700)
        os.chown(self.data, self._user.uid, self._user.gid)
        return aside

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the server until the context ends."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
        }
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(f"\ninclude_if_exists '{self.folder / 'postgresql.conf'}'\n")
        with (self.folder / "postgres.log").open("ab") as log:
            process = subprocess.Popen(
                [str(self._binaries / "postgres"), "-D", str(self.data), *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=environment(),
                user=self._user.uid if self._user.other else None,
                group=self._user.gid if self._user.other else None,
                extra_groups=() if self._user.other else None,
            )
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
