"""The settings REGISTRY_OIDC_*: a provider's issuer, and the rights that the values of its claims give."""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Mapping
from urllib.parse import urlsplit

from msgspec import Struct

EVERYONE = "*"
"""In the setting of rights: every person that the provider signs in."""


class OidcSettings(Struct, frozen=True, kw_only=True):
    """An OpenID provider, and what the registry is to it.

    Attributes:
        issuer: The provider's issuer identifier, to which its discovery document belongs.
        client_id, client_secret: The registry's registration at the provider; a public client has no secret.
        scopes: The OAuth scopes that a sign-in asks for.
        claims: The claims whose values count, such as `groups`; a dot leads into an object (`realm_access.roles`).
        rights: The scopes that each value of a claim gives; `*` for everyone.
        audience: The audience of access tokens for the API; without one the API takes none.
        name: The provider's name on the sign-in page.
    """

    issuer: str
    client_id: str
    client_secret: str | None = None
    scopes: tuple[str, ...] = ("openid", "profile")
    claims: tuple[str, ...] = ("groups",)
    rights: Mapping[str, tuple[str, ...]] = {}
    audience: str | None = None
    name: str | None = None

    @property
    def display_name(self) -> str:
        """The provider's name, or the host name of its issuer."""
        return self.name or urlsplit(self.issuer).hostname or self.issuer


def parse_rights(text: str) -> dict[str, tuple[str, ...]]:
    """Read `editors=record,correct "press desk=propose" *=read`.

    Raises:
        ValueError: With the part that cannot be read.
    """
    rights: dict[str, tuple[str, ...]] = {}
    for part in shlex.split(text):
        value, separator, scopes = part.rpartition("=")
        granted = tuple(scope for scope in scopes.split(",") if scope)
        if not (separator and value and granted) or value in rights:
            raise ValueError(part)
        rights[value] = granted
    return rights


def is_secure(url: str) -> bool:
    """Whether a URL leads over TLS, or to this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme == "https":
        return bool(host)
    return parts.scheme == "http" and (host == "localhost" or _is_loopback(host))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
