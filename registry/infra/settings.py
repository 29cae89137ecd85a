"""Settings, read once at the start from the environment and the command's flags.

The representation of `Settings` contains no password and no key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from msgspec import Struct, field
from msgspec.structs import asdict

from registry.errors import BadSetting
from registry.infra import setting_values as values
from registry.infra.data_licence_setting import DataLicence
from registry.infra.oidc_setting import OidcSettings
from registry.infra.pooling import Pooling
from registry.infra.problems import SettingProblem
from registry.infra.rate_limit_setting import DEFAULT_RATE_LIMITS, RateLimit
from registry.infra.setting_values import LOOPBACK, InvalidValue, Network

SECRET = frozenset({"admin_key", "signing_secret", "oidc_client_secret"})
URLS = frozenset({"database_url", "owner_url", "replica_urls", "smtp_url"})


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
    site: str | None = None
    smtp_url: str | None = None
    smtp_from: str | None = None
    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = LOOPBACK
    four_eyes: tuple[str, ...] = ()
    rate_limits: Mapping[str, RateLimit] = field(default_factory=lambda: DEFAULT_RATE_LIMITS)
    follow: str | None = None
    follow_verifiers: tuple[str, ...] = ()
    follow_seconds: int = 5
    witness_name: str | None = None
    witnesses: tuple[str, ...] = ()
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
                except InvalidValue as error:
                    raise BadSetting(setting=f"{variable(name)} ({flag(name)})", reason=error.problem) from None
        data_dir: Path = known.pop("data_dir", None) or default_data_dir(environ)
        signing_key: Path = known.pop("signing_key", None) or data_dir / "signing.key"
        settings = cls(data_dir=data_dir, signing_key=signing_key, **known)
        settings._check_oidc()
        settings._check_mail()
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

    def _check_mail(self) -> None:
        """Check that the settings of e-mail belong together. Raises BadSetting."""
        for name in ("site", "smtp_from"):
            if self.smtp_url is not None and getattr(self, name) is None:
                raise BadSetting(setting=f"{variable(name)} ({flag(name)})", reason=SettingProblem("mail_missing"))

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


class Setting(Struct, frozen=True):
    """One setting: how it is read from text, and its description."""

    read: Callable[[str], Any]
    help: str


SETTINGS = {
    "database_url": Setting(
        values.postgres_url,
        "URL of the application's role on Postgres 14 or newer. Default: a bundled server in the data directory.",
    ),
    "owner_url": Setting(values.postgres_url, "URL of the role that owns the tables, for migrations and redactions."),
    "replica_urls": Setting(values.postgres_urls, "URLs of read replicas, separated by spaces. Default: none."),
    "replica_max_lag": Setting(
        values.seconds, "Seconds by which a read replica may lag and still answer reads. Default: 10."
    ),
    "pool_size": Setting(values.connections, "Connections for reads, to the primary and to each replica. Default: 10."),
    "recorder_pool_size": Setting(values.connections, "Connections of the recorder. Default: 3."),
    "evidence_pool_size": Setting(values.connections, "Connections for checkpoints and proofs. Default: 4."),
    "transaction_pooler": Setting(
        values.boolean,
        "Whether REGISTRY_DATABASE_URL points to a pooler in transaction mode. Default: false.",
    ),
    "prepared_statements": Setting(
        values.boolean,
        "Whether the service prepares statements; a pooler in transaction mode must support them. Default: true.",
    ),
    "data_dir": Setting(
        values.path,
        "Directory of the bundled server, the keys and the service's files. Default: investment-registry in "
        "$XDG_DATA_HOME (~/.local/share).",
    ),
    "host": Setting(str, "The address to listen on. Default: 127.0.0.1."),
    "port": Setting(values.port, "The port to listen on; 0 for any free port. Default: 8000."),
    "public_read": Setting(values.boolean, "Whether reading is possible without an API key. Default: true."),
    "time_zone": Setting(values.time_zone, "The time zone in which a day begins and ends (IANA name). Default: UTC."),
    "scope": Setting(
        values.scope,
        "The default filters of the overview, such as `region=KR`, separated by spaces. Default: all deals.",
    ),
    "admin_key": Setting(values.admin_key, "An API key with all scopes, for first use; at least 32 characters."),
    "log_origin": Setting(
        values.origin, "The log's name, in the first line of every checkpoint. Default: localhost/investment-registry."
    ),
    "data_licence": Setting(
        values.data_licence,
        "The name and the address of the licence of the data, such as "
        "`CC-BY-4.0 https://creativecommons.org/licenses/by/4.0/`; shown on pages, in exports and by the API. Default: "
        "none stated.",
    ),
    "ocid_prefix": Setting(
        values.ocid_prefix,
        "The publisher's prefix of OCDS ids, assigned by the Open Contracting Partnership. Default: ocds-000000.",
    ),
    "signing_key": Setting(
        values.path,
        "The file of the log's signing key; created on first use. Default: signing.key in the data directory.",
    ),
    "secrets_key": Setting(
        values.path,
        "The file of the keys that encrypt secrets and seal sessions in the database; created on first use. Default: "
        "secrets.key in the data directory.",
    ),
    "signing_secret": Setting(
        values.secret,
        "A secret of at least 32 characters. With it, the signing key is in the database, encrypted, for several "
        "services. Default: the key is a file.",
    ),
    "checkpoint_export": Setting(
        values.path,
        "A file or directory, preferably on another machine, that gets a copy of every checkpoint. Default: none.",
    ),
    "checkpoint_seconds": Setting(
        values.seconds, "Maximum seconds between an event and the next checkpoint. Default: 5."
    ),
    "clock_tolerance": Setting(
        values.clock_tolerance,
        "Seconds by which the service's clock may differ from the database's; beyond them nothing is recorded. "
        "Default: 60.",
    ),
    "rate_sources": Setting(
        values.words,
        "Sources of exchange rates in order of preference, separated by spaces; all others follow by name. "
        "Default: ECB.",
    ),
    "otlp_endpoint": Setting(
        values.http_url,
        "The OpenTelemetry collector that receives traces (OTLP over HTTP), such as http://127.0.0.1:4318. Needs the "
        "extra `otel`. Default: no traces.",
    ),
    "webhook_networks": Setting(
        values.networks,
        "Private networks that webhooks and watches may send to, separated by spaces. Default: public addresses only.",
    ),
    "site": Setting(values.http_url, "The address at which readers reach this service, for links in e-mails."),
    "smtp_url": Setting(
        values.smtp_url,
        "The mail server that sends the e-mails of watches: smtp://USER:PASSWORD@HOST:PORT, or smtps:// for TLS from "
        "the start. Needs REGISTRY_SITE and REGISTRY_SMTP_FROM. Default: none are sent.",
    ),
    "smtp_from": Setting(values.mail_address, "The sender's address of these e-mails."),
    "cors_origins": Setting(
        values.cors_origins,
        "Origins of web pages that may call the API, separated by spaces; * for any. Default: none.",
    ),
    "allowed_hosts": Setting(
        values.hosts,
        "Names under which the service answers, separated by spaces, beside localhost, IP addresses and the name in "
        "REGISTRY_SITE; * for any. Default: no others if it listens on a loopback address, else any.",
    ),
    "trusted_proxies": Setting(
        values.proxies,
        "Networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are trusted, separated by spaces; `none` "
        "if there is no proxy. Default: this machine.",
    ),
    "four_eyes": Setting(
        values.event_types,
        "Types of events that a second principal must approve, separated by spaces; `true` means redactions. "
        "Default: none.",
    ),
    "rate_limits": Setting(
        values.rate_limits,
        "Requests per second (s), minute (m) or hour (h) of each key, of each address, and with wrong keys of an "
        "address; `off` for no limit. Default: key=1000/s address=200/s failure=20/m.",
    ),
    "follow": Setting(
        values.http_url,
        "The address of another registry. This service copies and verifies its log as a read-only mirror.",
    ),
    "follow_verifiers": Setting(
        values.words,
        "The public keys of the followed log, separated by spaces. Default: those that it states at the first start.",
    ),
    "follow_seconds": Setting(
        values.seconds, "Seconds between two requests for the followed log's newest checkpoint. Default: 5."
    ),
    "witness_name": Setting(
        values.origin,
        "The name under which this mirror cosigns the checkpoints of the followed log, such as "
        "mirror.example/witness. Default: it cosigns none.",
    ),
    "witnesses": Setting(
        values.words,
        "Witnesses that cosign this log's checkpoints: pairs of a public key and an address, separated by spaces. "
        "Default: none.",
    ),
    "oidc_issuer": Setting(
        values.issuer, "The issuer of an OpenID provider through which people sign in. Default: none."
    ),
    "oidc_client_id": Setting(str, "The registry's client id at the provider."),
    "oidc_client_secret": Setting(str, "The client's secret; leave it out for a public client."),
    "oidc_scopes": Setting(values.words, "OAuth scopes that a sign-in requests. Default: openid profile."),
    "oidc_claims": Setting(
        values.words,
        "Claims whose values give rights, separated by spaces; a dot names a member of an object, as in "
        "realm_access.roles. Default: groups.",
    ),
    "oidc_rights": Setting(
        values.oidc_rights,
        "The scopes that each value of these claims gives, such as `editors=record,correct board=admin *=read`; * "
        "is everyone who signs in.",
    ),
    "oidc_audience": Setting(
        str, "The audience of those access tokens (JWT) of the provider that the API accepts. Default: it accepts none."
    ),
    "oidc_name": Setting(str, "The provider's name on the sign-in page. Default: the host name of the issuer."),
}
"""Every setting by the name of its field: `REGISTRY_…` in the environment, a flag of `serve`, `demo` and `follow`."""
