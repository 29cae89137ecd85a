"""Read the values of settings from text. A value that cannot be used raises `InvalidValue`, which says why."""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from registry.infra.data_licence_setting import DataLicence, parse_data_licence
from registry.infra.oidc_setting import is_secure, parse_rights
from registry.infra.problems import SettingProblem
from registry.infra.rate_limit_setting import RateLimit, parse_rate_limits

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

ADMIN_KEY_LENGTH = 32
SCOPE_FILTERS = (
    *("organization", "role", "region", "sector", "stage", "commitment", "kind", "classification"),
    *("metric", "incentive", "setback"),
)
LOOPBACK = ("127.0.0.0/8", "::1/128")


class InvalidValue(Exception):
    """A value that cannot be used as a setting."""

    def __init__(self, problem: SettingProblem) -> None:
        super().__init__(problem)
        self.problem = problem


def path(text: str) -> Path:
    """An absolute path."""
    # Symbolic links are not resolved: the path stays as the operator wrote it.
    return Path(os.path.abspath(Path(text).expanduser()))  # noqa: PTH100


def port(text: str) -> int:
    """A port; 0 for any free one."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65_535:
        raise InvalidValue(SettingProblem("port", value=text))
    return int(text)


def seconds(text: str) -> int:
    """A number of seconds."""
    if not re.fullmatch(r"[0-9]{1,5}", text):
        raise InvalidValue(SettingProblem("seconds", value=text))
    return int(text)


def connections(text: str) -> int:
    """A number of connections, at least one."""
    if not re.fullmatch(r"[0-9]{1,4}", text) or not int(text):
        raise InvalidValue(SettingProblem("connections", value=text))
    return int(text)


def clock_tolerance(text: str) -> int:
    """A number of seconds, at least one."""
    if not (tolerance := seconds(text)):
        raise InvalidValue(SettingProblem("clock_tolerance"))
    return tolerance


def boolean(text: str) -> bool:
    """`true` or `false`."""
    match text.lower():
        case "true" | "yes" | "on" | "1":
            return True
        case "false" | "no" | "off" | "0":
            return False
        case _:
            raise InvalidValue(SettingProblem("boolean", value=text))


def time_zone(text: str) -> str:
    """An IANA time zone."""
    try:
        ZoneInfo(text)
    except (KeyError, OSError, ValueError):  # An unknown name, a directory such as "Asia", an absolute path.
        raise InvalidValue(SettingProblem("time_zone", value=text)) from None
    return text


def data_licence(text: str) -> DataLicence:
    """The name and the address of a licence."""
    try:
        return parse_data_licence(text)
    except ValueError:
        raise InvalidValue(SettingProblem("data_licence", value=text)) from None


def ocid_prefix(text: str) -> str:
    """A prefix of OCDS ids."""
    if not re.fullmatch(r"ocds-[a-z0-9]{6}", text):
        raise InvalidValue(SettingProblem("ocid_prefix", value=text))
    return text


def scope(text: str) -> tuple[tuple[str, str], ...]:
    """Filters as `name=value`, separated by spaces."""
    pairs = [tuple(part.split("=", 1)) for part in text.split()]
    if any(len(pair) != 2 or pair[0] not in SCOPE_FILTERS or not pair[1] for pair in pairs):
        raise InvalidValue(SettingProblem("scope", value=text))
    return tuple((name, value) for name, value in pairs)


def postgres_url(text: str) -> str:
    """The URL of a Postgres database."""
    try:
        scheme = urlsplit(text).scheme
    except ValueError:
        scheme = ""
    if scheme not in ("postgresql", "postgres"):
        # The problem does not repeat the URL, which may contain a password.
        raise InvalidValue(SettingProblem("postgres_url"))
    return text


def postgres_urls(text: str) -> tuple[str, ...]:
    """URLs of Postgres databases, separated by spaces."""
    return tuple(postgres_url(url) for url in text.split())


def words(text: str) -> tuple[str, ...]:
    """Words, separated by spaces."""
    return tuple(text.split())


def networks(text: str) -> tuple[Network, ...]:
    """IP networks, separated by spaces."""
    return tuple(map(network, text.split()))


def network(text: str) -> Network:
    """An IP network."""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise InvalidValue(SettingProblem("network", value=text)) from None


def proxies(text: str) -> tuple[str, ...]:
    """IP networks of proxies, separated by spaces, or `none`."""
    return () if text == "none" else tuple(str(network) for network in networks(text))


def rate_limits(text: str) -> dict[str, RateLimit]:
    """Rate limits by class."""
    try:
        return parse_rate_limits(text)
    except ValueError as error:
        raise InvalidValue(SettingProblem("rate_limits", value=str(error))) from None


def event_types(text: str) -> tuple[str, ...]:
    """Event types, separated by spaces; `true` for redactions."""
    return ("event_redacted",) if text.strip().lower() in ("true", "on", "yes", "1") else tuple(text.split())


def issuer(text: str) -> str:
    """The issuer of an OpenID provider."""
    if not is_secure(text) or urlsplit(text).query or urlsplit(text).fragment:
        raise InvalidValue(SettingProblem("oidc_issuer", value=text))
    return text


def smtp_url(text: str) -> str:
    """The address of a mail server."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("smtp", "smtps") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        # The problem does not repeat the URL, which may contain a password.
        raise InvalidValue(SettingProblem("smtp_url"))
    return text


def mail_address(text: str) -> str:
    """An e-mail address."""
    if not re.fullmatch(r"[^\s@<>]+@[^\s@<>]+", text):
        raise InvalidValue(SettingProblem("mail_address", value=text))
    return text


def http_url(text: str) -> str:
    """An http(s) address."""
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise InvalidValue(SettingProblem("http_url", value=text))
    return text


def oidc_rights(text: str) -> dict[str, tuple[str, ...]]:
    """The scopes that values of claims give."""
    try:
        return parse_rights(text)
    except ValueError as error:
        raise InvalidValue(SettingProblem("oidc_rights", value=str(error))) from None


def cors_origins(text: str) -> tuple[str, ...]:
    """Origins of web pages, separated by spaces, or `*`."""
    for origin in text.split():
        if not re.fullmatch(r"\*|https?://[^\s/?#*]+", origin):
            raise InvalidValue(SettingProblem("cors_origin", value=origin))
    return tuple(text.split())


def hosts(text: str) -> tuple[str, ...]:
    """Names of hosts, without ports, separated by spaces, or `*`."""
    for name in text.split():
        if not re.fullmatch(r"\*|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", name):
            raise InvalidValue(SettingProblem("host_name", value=name))
    return tuple(text.split())


def admin_key(text: str) -> str:
    """An API key of at least 32 visible characters."""
    if len(text) < ADMIN_KEY_LENGTH:
        raise InvalidValue(SettingProblem("admin_key_short", length=len(text), minimum=ADMIN_KEY_LENGTH))
    if not re.fullmatch(r"[\x21-\x7e]+", text):
        raise InvalidValue(SettingProblem("admin_key_characters"))
    return text


def secret(text: str) -> str:
    """A secret of at least 32 characters."""
    if len(text) < ADMIN_KEY_LENGTH:
        raise InvalidValue(SettingProblem("secret_short", length=len(text), minimum=ADMIN_KEY_LENGTH))
    return text


def origin(text: str) -> str:
    """A log's name."""
    # The name of a key in a signed note contains no spaces and no plus signs (C2SP signed-note, "Format").
    if re.search(r"[\s+\x00-\x1f]", text):
        raise InvalidValue(SettingProblem("origin"))
    return text
