"""Settings, read once at the start from the environment and the command's flags.

The representation of `Settings` contains no password and no key.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self, TypeAlias
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from msgspec import Struct, field
from msgspec.structs import asdict

from registry.errors import BadSetting
from registry.infra.data_licence_setting import DataLicence, parse_data_licence
from registry.infra.oidc_setting import OidcSettings, is_secure, parse_rights
from registry.infra.postgres import Pooling
from registry.infra.problems import SettingProblem
from registry.infra.rate_limit_setting import DEFAULT_RATE_LIMITS, RateLimit, parse_rate_limits

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

ADMIN_KEY_LENGTH = 32
SCOPE_FILTERS = ("organization", "role", "region", "sector", "stage", "commitment", "kind", "classification")
LOOPBACK = ("127.0.0.0/8", "::1/128")
SECRET = frozenset({"admin_key", "signing_secret", "oidc_client_secret"})
URLS = frozenset({"database_url", "owner_url", "replica_urls"})


class _InvalidValue(Exception):
    """A value that cannot be used as a setting."""

    def __init__(self, problem: SettingProblem) -> None:
        super().__init__(problem)
        self.problem = problem


class Settings(Struct, frozen=True, kw_only=True):
    """The settings of a service. `SETTINGS` describes each field and how it is read."""

    database_url: str | None = None
    owner_url: str | None = None
    replica_urls: tuple[str, ...] = ()
    replica_max_lag: int = 10
    pool_size: int = 10
    recorder_pool_size: int = 3
    evidence_pool_size: int = 4
    transaction_pooler: bool = False
    prepared_statements: bool = True
    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 8000
    public_read: bool = True
    time_zone: str = "UTC"
    scope: tuple[tuple[str, str], ...] = ()
    admin_key: str | None = None
    log_origin: str = "localhost/investment-registry"
    data_licence: DataLicence | None = None
    ocid_prefix: str = "ocds-000000"
    signing_key: Path
    secrets_key: Path | None = None
    signing_secret: str | None = None
    checkpoint_export: Path | None = None
    checkpoint_seconds: int = 5
    clock_tolerance: int = 60
    rate_sources: tuple[str, ...] = ("ECB",)
    otlp_endpoint: str | None = None
    webhook_networks: tuple[Network, ...] = ()
    cors_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = LOOPBACK
    four_eyes: tuple[str, ...] = ()
    rate_limits: Mapping[str, RateLimit] = field(default_factory=lambda: DEFAULT_RATE_LIMITS)
    oidc_issuer: str | None = None
    oidc_client_id: str | None = None
    oidc_client_secret: str | None = None
    oidc_scopes: tuple[str, ...] = ("openid", "profile")
    oidc_claims: tuple[str, ...] = ("groups",)
    oidc_rights: Mapping[str, tuple[str, ...]] = {}
    oidc_audience: str | None = None
    oidc_name: str | None = None

    @classmethod
    def read(cls, environ: Mapping[str, str], **flags: object) -> Self:
        """The settings of `environ`, overridden by those `flags` that are not None.

        Raises:
            BadSetting: A value cannot be used. The error names the variable and the flag.
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
                except _InvalidValue as error:
                    raise BadSetting(setting=f"{variable(name)} ({flag(name)})", reason=error.problem) from None
        data_dir: Path = known.pop("data_dir", None) or default_data_dir(environ)
        signing_key: Path = known.pop("signing_key", None) or data_dir / "signing.key"
        settings = cls(data_dir=data_dir, signing_key=signing_key, **known)
        settings._check_oidc()
        return settings

    @property
    def pooling(self) -> Pooling:
        """What stands between the service and Postgres."""
        return Pooling(transaction_pooler=self.transaction_pooler, prepared_statements=self.prepared_statements)

    @property
    def oidc(self) -> OidcSettings | None:
        """The OpenID provider, if one is configured."""
        if self.oidc_issuer is None or self.oidc_client_id is None:
            return None
        return OidcSettings(
            issuer=self.oidc_issuer,
            client_id=self.oidc_client_id,
            client_secret=self.oidc_client_secret,
            scopes=self.oidc_scopes,
            claims=self.oidc_claims,
            rights=self.oidc_rights,
            audience=self.oidc_audience,
            name=self.oidc_name,
        )

    def _check_oidc(self) -> None:
        """Check that the settings of a provider belong together.

        Raises:
            BadSetting: One of them is missing, or an ID token could be taken for an access token.
        """
        given = [name for name in SETTINGS if name.startswith("oidc_") and getattr(self, name)]
        for name in ("oidc_issuer", "oidc_client_id", "oidc_rights"):
            if {"oidc_issuer", "oidc_client_id"} & set(given) and name not in given:
                raise BadSetting(setting=f"{variable(name)} ({flag(name)})", reason=SettingProblem("oidc_missing"))
        if self.oidc_audience is not None and self.oidc_audience == self.oidc_client_id:
            name = "oidc_audience"
            raise BadSetting(setting=f"{variable(name)} ({flag(name)})", reason=SettingProblem("oidc_audience"))

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
    """The default data directory: below `$XDG_DATA_HOME` (XDG Base Directory), as an absolute path."""
    home = environ.get("XDG_DATA_HOME", "")
    base = Path(home) if Path(home).is_absolute() else Path("~/.local/share").expanduser()
    return base / "investment-registry"


def _without_password(urls: object) -> object:
    if isinstance(urls, str):
        return re.sub(r"//([^:/@]*):[^@]*@", r"//\1:…@", re.sub(r"(password=)[^&]*", r"\1…", urls))
    return tuple(map(_without_password, urls)) if isinstance(urls, tuple) else urls


def _path(text: str) -> Path:
    # Symbolic links are not resolved: the path stays as the operator wrote it.
    return Path(os.path.abspath(Path(text).expanduser()))  # noqa: PTH100


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65_535:
        raise _InvalidValue(SettingProblem("port", value=text))
    return int(text)


def _seconds(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text):
        raise _InvalidValue(SettingProblem("seconds", value=text))
    return int(text)


def _connections(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,4}", text) or not int(text):
        raise _InvalidValue(SettingProblem("connections", value=text))
    return int(text)


def _clock_tolerance(text: str) -> int:
    if not (seconds := _seconds(text)):
        raise _InvalidValue(SettingProblem("clock_tolerance"))
    return seconds


def _parse_bool(text: str) -> bool:
    match text.lower():
        case "true" | "yes" | "on" | "1":
            return True
        case "false" | "no" | "off" | "0":
            return False
        case _:
            raise _InvalidValue(SettingProblem("boolean", value=text))


def _time_zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (KeyError, OSError, ValueError):  # An unknown name, a directory such as "Asia", an absolute path.
        raise _InvalidValue(SettingProblem("time_zone", value=text)) from None
    return text


def _data_licence(text: str) -> DataLicence:
    try:
        return parse_data_licence(text)
    except ValueError:
        raise _InvalidValue(SettingProblem("data_licence", value=text)) from None


def _ocid_prefix(text: str) -> str:
    if not re.fullmatch(r"ocds-[a-z0-9]{6}", text):
        raise _InvalidValue(SettingProblem("ocid_prefix", value=text))
    return text


def _scope(text: str) -> tuple[tuple[str, str], ...]:
    pairs = [tuple(part.split("=", 1)) for part in text.split()]
    if any(len(pair) != 2 or pair[0] not in SCOPE_FILTERS or not pair[1] for pair in pairs):
        raise _InvalidValue(SettingProblem("scope", value=text))
    return tuple((name, value) for name, value in pairs)


def _postgres_url(text: str) -> str:
    try:
        scheme = urlsplit(text).scheme
    except ValueError:
        scheme = ""
    if scheme not in ("postgresql", "postgres"):
        # The problem does not repeat the URL, which may contain a password.
        raise _InvalidValue(SettingProblem("postgres_url"))
    return text


def _postgres_urls(text: str) -> tuple[str, ...]:
    return tuple(_postgres_url(url) for url in text.split())


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(map(_network, text.split()))


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise _InvalidValue(SettingProblem("network", value=text)) from None


def _proxies(text: str) -> tuple[str, ...]:
    return () if text == "none" else tuple(str(network) for network in _networks(text))


def _rate_limits(text: str) -> dict[str, RateLimit]:
    try:
        return parse_rate_limits(text)
    except ValueError as error:
        raise _InvalidValue(SettingProblem("rate_limits", value=str(error))) from None


def _four_eyes(text: str) -> tuple[str, ...]:
    return ("event_redacted",) if text.strip().lower() in ("true", "on", "yes", "1") else tuple(text.split())


def _issuer(text: str) -> str:
    if not is_secure(text) or urlsplit(text).query or urlsplit(text).fragment:
        raise _InvalidValue(SettingProblem("oidc_issuer", value=text))
    return text


def _http_url(text: str) -> str:
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise _InvalidValue(SettingProblem("http_url", value=text))
    return text


def _oidc_rights(text: str) -> dict[str, tuple[str, ...]]:
    try:
        return parse_rights(text)
    except ValueError as error:
        raise _InvalidValue(SettingProblem("oidc_rights", value=str(error))) from None


def _cors_origins(text: str) -> tuple[str, ...]:
    for origin in text.split():
        if not re.fullmatch(r"\*|https?://[^\s/?#*]+", origin):
            raise _InvalidValue(SettingProblem("cors_origin", value=origin))
    return tuple(text.split())


def _admin_key(text: str) -> str:
    if len(text) < ADMIN_KEY_LENGTH:
        raise _InvalidValue(SettingProblem("admin_key_short", length=len(text), minimum=ADMIN_KEY_LENGTH))
    if not re.fullmatch(r"[\x21-\x7e]+", text):
        raise _InvalidValue(SettingProblem("admin_key_characters"))
    return text


def _secret(text: str) -> str:
    if len(text) < ADMIN_KEY_LENGTH:
        raise _InvalidValue(SettingProblem("secret_short", length=len(text), minimum=ADMIN_KEY_LENGTH))
    return text


def _origin(text: str) -> str:
    # The name of a key in a signed note contains no spaces and no plus signs (C2SP signed-note, "Format").
    if re.search(r"[\s+\x00-\x1f]", text):
        raise _InvalidValue(SettingProblem("origin"))
    return text


class Setting(Struct, frozen=True):
    """One setting: how it is read from text, and its description."""

    read: Callable[[str], Any]
    help: str


SETTINGS = {
    "database_url": Setting(
        _postgres_url,
        "URL of the application's role on Postgres 14 or newer. Default: a bundled server in the data directory.",
    ),
    "owner_url": Setting(_postgres_url, "URL of the role that owns the tables, for migrations and redactions."),
    "replica_urls": Setting(_postgres_urls, "URLs of read replicas, separated by spaces."),
    "replica_max_lag": Setting(_seconds, "Seconds that a read replica may lag and still be read from. Default: 10."),
    "pool_size": Setting(_connections, "Connections for reads, to the primary and to each replica. Default: 10."),
    "recorder_pool_size": Setting(_connections, "Connections of the recorder. Default: 3."),
    "evidence_pool_size": Setting(_connections, "Connections for checkpoints and proofs. Default: 4."),
    "transaction_pooler": Setting(
        _parse_bool,
        "Whether REGISTRY_DATABASE_URL leads through a pooler in transaction mode. Default: false.",
    ),
    "prepared_statements": Setting(
        _parse_bool,
        "Whether statements are prepared; a pooler in transaction mode must support them. Default: true.",
    ),
    "data_dir": Setting(_path, "Directory of the bundled server and the signing key."),
    "host": Setting(str, "The address to listen on."),
    "port": Setting(_port, "The port to listen on; 0 for any free port."),
    "public_read": Setting(_parse_bool, "Whether reading is possible without an API key."),
    "time_zone": Setting(_time_zone, "The time zone in which a day begins and ends (IANA name). Default: UTC."),
    "scope": Setting(
        _scope,
        "The default filters of the overview, such as `region=KR`, separated by spaces. Default: all deals.",
    ),
    "admin_key": Setting(_admin_key, "An API key with all scopes, for first use; at least 32 characters."),
    "log_origin": Setting(_origin, "The log's name, in the first line of every checkpoint."),
    "data_licence": Setting(
        _data_licence,
        "The name and the address of the licence of the data, such as "
        "`CC-BY-4.0 https://creativecommons.org/licenses/by/4.0/`; shown on pages, in exports and by the API. Default: "
        "none stated.",
    ),
    "ocid_prefix": Setting(
        _ocid_prefix,
        "The publisher's prefix of OCDS ids, assigned by the Open Contracting Partnership. Default: ocds-000000.",
    ),
    "signing_key": Setting(_path, "The file of the log's signing key; created on first use."),
    "secrets_key": Setting(
        _path,
        "The file of the keys that encrypt secrets and seal sessions in the database; created on first use. Default: "
        "secrets.key in the data directory.",
    ),
    "signing_secret": Setting(
        _secret,
        "Keeps the signing key in the database, sealed under this secret, for several services; 32 characters or more.",
    ),
    "checkpoint_export": Setting(
        _path,
        "A file or directory, best on another machine, for a copy of every checkpoint.",
    ),
    "checkpoint_seconds": Setting(_seconds, "Maximum seconds between an event and the next checkpoint."),
    "clock_tolerance": Setting(
        _clock_tolerance,
        "Seconds that the clock may differ from the database's before nothing is recorded. Default: 60.",
    ),
    "rate_sources": Setting(
        _words,
        "Sources of exchange rates in the order in which they are tried, separated by spaces; others follow by name. "
        "Default: ECB.",
    ),
    "otlp_endpoint": Setting(
        _http_url,
        "The OpenTelemetry collector that receives traces (OTLP over HTTP), such as http://127.0.0.1:4318. Needs the "
        "extra `otel`. Default: no traces.",
    ),
    "webhook_networks": Setting(
        _networks,
        "Private networks that webhooks may send to, separated by spaces. Default: public addresses only.",
    ),
    "cors_origins": Setting(
        _cors_origins,
        "Origins of web pages that may call the API, separated by spaces; * for any. Default: none.",
    ),
    "trusted_proxies": Setting(
        _proxies,
        "Networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are trusted, separated by spaces; none for no "
        "proxy. Default: this machine.",
    ),
    "four_eyes": Setting(
        _four_eyes,
        "Types of events that a second principal must approve, separated by spaces; `true`: redactions. Default: none.",
    ),
    "rate_limits": Setting(
        _rate_limits,
        "Requests per second (s), minute (m) or hour (h) for each key, each address, and wrong keys of an address; off "
        "for none. Default: key=1000/s address=200/s failure=20/m.",
    ),
    "oidc_issuer": Setting(_issuer, "The issuer of an OpenID provider through which people sign in. Default: none."),
    "oidc_client_id": Setting(str, "The client id under which the registry is registered at the provider."),
    "oidc_client_secret": Setting(str, "The client's secret; none for a public client."),
    "oidc_scopes": Setting(_words, "OAuth scopes that a sign-in asks for. Default: openid profile."),
    "oidc_claims": Setting(
        _words,
        "Claims whose values give rights, separated by spaces; a dot leads into an object, as in realm_access.roles. "
        "Default: groups.",
    ),
    "oidc_rights": Setting(
        _oidc_rights,
        "The scopes that values of these claims give, such as `editors=record,correct board=admin *=read`; * is for "
        "everyone whom the provider signs in.",
    ),
    "oidc_audience": Setting(
        str, "The audience of the provider's access tokens (JWT) that the API accepts. Default: it accepts none."
    ),
    "oidc_name": Setting(str, "The provider's name on the sign-in page. Default: the host name of the issuer."),
}
"""Every setting by the name of its field: `REGISTRY_…` in the environment, a flag of `serve` and `demo`."""
