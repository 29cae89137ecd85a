"""The session that a person has at the OpenID provider, which signing out here ends too.

OpenID Connect RP-Initiated Logout 1.0: the browser goes to the provider with the ID token of its sign-in, which says
whose session at which client ends. The token is in a sealed cookie of the browser and nowhere else.
"""

from __future__ import annotations

import msgspec
from litestar.datastructures import Cookie
from msgspec import Struct

from registry.append.identities import Identities
from registry.errors import ProviderUnavailable, SecretUnreadable
from registry.infra.secret_box import SecretBox
from registry.infra.sessions import LIFETIME
from registry.web.page.request import Request

COOKIE = "registry_provider"
PATH = "/sign-out"

# Browsers keep cookies of up to 4,096 bytes. Without the token the provider asks whom it should sign out.
MAX_COOKIE_LENGTH = 3_800


class ProviderSession(Struct, frozen=True):
    """Who has signed in at the provider: the principal, and the ID token."""

    principal: str
    id_token: str


def remember(request: Request, box: SecretBox, session: ProviderSession) -> Cookie:
    """The cookie of a session at the provider."""
    sealed = box.encrypt(msgspec.json.encode(session)).decode()
    if len(sealed) > MAX_COOKIE_LENGTH:
        sealed = box.encrypt(msgspec.json.encode(ProviderSession(session.principal, ""))).decode()
    return _cookie(request, sealed, int(LIFETIME.total_seconds()))


def forget(request: Request) -> Cookie:
    """The cookie that deletes it."""
    return _cookie(request, "", 0)


async def sign_out_url(
    request: Request, box: SecretBox, identities: Identities, principal: str, then: str, language: str | None
) -> str | None:
    """Where the browser ends its session at the provider; None if it has none, or the provider has no such address.

    Args:
        request: Has the cookie.
        box: Opens it.
        identities: Know the provider.
        principal: Who signs out.
        then: Where the provider sends the browser afterwards.
        language: The language that the reader has chosen.
    """
    session = _read(box, request.cookies.get(COOKIE, ""))
    if session is None or session.principal != principal or identities.provider is None:
        return None
    try:
        return await identities.provider.sign_out_url(session.id_token, then, language)
    except ProviderUnavailable:
        return None


def _read(box: SecretBox, sealed: str) -> ProviderSession | None:
    if not sealed or len(sealed) > MAX_COOKIE_LENGTH:
        return None
    try:
        return msgspec.json.decode(box.decrypt(sealed.encode()), type=ProviderSession)
    except (SecretUnreadable, msgspec.DecodeError, UnicodeEncodeError):
        return None


def _cookie(request: Request, value: str, seconds: int) -> Cookie:
    secure = request.url.scheme == "https"
    return Cookie(COOKIE, path=PATH, value=value, max_age=seconds, httponly=True, samesite="strict", secure=secure)
