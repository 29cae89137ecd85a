"""Everything an operator can choose, read once from the environment and the command's flags, then frozen.

Reads nothing later, opens nothing, and never shows a password or a key: the representation of `Settings` leaves them
out.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self, TypeAlias
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import asdict

from registry.errors import BadSetting

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

ADMIN_KEY_LENGTH = 32
SECRET = frozenset({"admin_key"})
URLS = frozenset({"database_url", "owner_url", "replica_urls"})


class Settings(Struct, frozen=True, kw_only=True):
    """What the service runs with. `SETTINGS` says what each field means and how it is read."""

    database_url: str | None = None
    owner_url: str | None = None
    replica_urls: tuple[str, ...] = ()
    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 8000
    public_read: bool = True
    admin_key: str | None = None
    log_origin: str = "localhost/investment-registry"
    signing_key: Path
    checkpoint_export: Path | None = None
    checkpoint_seconds: int = 5
    webhook_networks: tuple[Network, ...] = ()

    @classmethod
    def read(cls, environ: Mapping[str, str], **flags: object) -> Self:
        """The settings of `environ`, overridden by those `flags` that are not None.

        Raises `BadSetting`, which names the variable and the flag.
        """
        unknown = flags.keys() - SETTINGS.keys()
        if unknown:
            raise TypeError(f"no such setting: {', '.join(sorted(unknown))}")
        known: dict[str, Any] = {}
        for name, setting in SETTINGS.items():
            given = flags.get(name)
            text = environ.get(variable(name), "").strip() if given is None else str(given)
            if text:
                try:
                    known[name] = setting.read(text)
                except ValueError as error:
                    raise BadSetting(setting=f"{variable(name)} ({flag(name)})", reason=str(error)) from None
        data_dir: Path = known.pop("data_dir", None) or default_data_dir(environ)
        signing_key: Path = known.pop("signing_key", None) or data_dir / "signing.key"
        return cls(data_dir=data_dir, signing_key=signing_key, **known)

    def __repr__(self) -> str:
        shown = {
            name: "…" if value and name in SECRET else _without_password(value) if name in URLS else value
            for name, value in asdict(self).items()
        }
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


def variable(name: str) -> str:
    """The name of a setting in the environment."""
    return f"REGISTRY_{name.upper()}"


def flag(name: str) -> str:
    """The name of a setting on the command line."""
    return f"--{name.replace('_', '-')}"


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """Where a user's data belongs (XDG Base Directory, `$XDG_DATA_HOME`), absolute."""
    home = environ.get("XDG_DATA_HOME", "")
    base = Path(home) if Path(home).is_absolute() else Path("~/.local/share").expanduser()
    return base / "investment-registry"


def _without_password(urls: object) -> object:
    if isinstance(urls, str):
        return re.sub(r"//([^:/@]*):[^@]*@", r"//\1:…@", re.sub(r"(password=)[^&]*", r"\1…", urls))
    return tuple(map(_without_password, urls)) if isinstance(urls, tuple) else urls


def _path(text: str) -> Path:
    # Not resolved: a symbolic link stays the name that its owner chose.
    return Path(os.path.abspath(Path(text).expanduser()))  # noqa: PTH100


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65_535:
        raise ValueError(f"'{text}' is no port: give a number from 0 (any free one) to 65535")
    return int(text)


def _seconds(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text):
        raise ValueError(f"'{text}' is no number of seconds: give a whole number from 0 to 99999")
    return int(text)


def _parse_bool(text: str) -> bool:
    match text.lower():
        case "true" | "yes" | "on" | "1":
            return True
        case "false" | "no" | "off" | "0":
            return False
        case _:
            raise ValueError(f"'{text}' is neither true nor false")


def _postgres_url(text: str) -> str:
    if urlsplit(text).scheme not in ("postgresql", "postgres"):
        # The text itself may hold a password: it is not repeated.
        raise ValueError("this is no Postgres URL: give postgresql://USER:PASSWORD@HOST:PORT/DATABASE")
    return text


def _postgres_urls(text: str) -> tuple[str, ...]:
    return tuple(_postgres_url(url) for url in text.split())


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(network) for network in text.split())


def _admin_key(text: str) -> str:
    if len(text) < ADMIN_KEY_LENGTH:
        raise ValueError(f"an admin key has {ADMIN_KEY_LENGTH} characters or more, this one has {len(text)}")
    if not re.fullmatch(r"[\x21-\x7e]+", text):
        raise ValueError("an admin key is sent in an HTTP header: use visible ASCII characters only")
    return text


def _origin(text: str) -> str:
    # A key's name in a signed note holds neither spaces nor plus signs (C2SP signed-note, "Format").
    if re.search(r"[\s+\x00-\x1f]", text):
        raise ValueError("an origin holds no spaces and no '+'; use a name you own, like registry.example/log")
    return text


class Setting(Struct, frozen=True):
    """How one setting is read from text (a `ValueError` says what is wrong with it), and what it means."""

    read: Callable[[str], Any]
    help: str


SETTINGS = {
    "database_url": Setting(
        _postgres_url,
        "The application's role on a Postgres 14 or newer; without one, an own server in the data directory.",
    ),
    "owner_url": Setting(_postgres_url, "The role that owns the tables, for migrations and redaction."),
    "replica_urls": Setting(_postgres_urls, "Read replicas, separated by spaces."),
    "data_dir": Setting(_path, "Where the own server and the keys are kept."),
    "host": Setting(str, "The address to listen on."),
    "port": Setting(_port, "The port to listen on; 0: any free one."),
    "public_read": Setting(_parse_bool, "Whether reading needs no key."),
    "admin_key": Setting(_admin_key, "A key with all scopes, for first use; 32 characters or more."),
    "log_origin": Setting(_origin, "The log's name: the first line of every checkpoint."),
    "signing_key": Setting(_path, "The file of the log's signing key; made on first use."),
    "checkpoint_export": Setting(
        _path,
        "A file or directory, best on another machine, for a copy of every checkpoint; never contradicted.",
    ),
    "checkpoint_seconds": Setting(_seconds, "The most seconds between a change and the next checkpoint."),
    "webhook_networks": Setting(
        _networks,
        "Networks of your own that webhooks may send to, separated by spaces; else public addresses only.",
    ),
}
"""Every setting there is, by the name of its field; `REGISTRY_…` in the environment, a flag of `serve` and `demo`."""
