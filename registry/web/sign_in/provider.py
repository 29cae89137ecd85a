"""Sign in through an OpenID provider: send the browser there with a new attempt, and check the provider's answer.

The attempt is a cookie that only this service can read or make, so nothing is stored for a visitor who never comes
back. Its `SameSite` is `Lax`, because the answer comes from the provider's site.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import msgspec
from litestar import Controller, Response, get
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.params import SkipValidation
from msgspec.structs import replace

from registry.append.identities import Identities
from registry.errors import SecretUnreadable, Unauthorized
from registry.http.guards import IGNORES_QUERY
from registry.http.parameters import text
from registry.http.rate_limits import CALLBACK
from registry.i18n import render as render_text
from registry.infra.secret_box import SecretBox
from registry.infra.settings import Settings
from registry.web.page import render
from registry.web.page.request import Page, Request, language_of
from registry.web.sign_in.provider_session import ProviderSession, remember
from registry.web.sign_in.session import AnySessions, render_sign_in, safe_redirect_path, start_session

if TYPE_CHECKING:
    from registry.infra.oidc import Provider, SignInAttempt

ATTEMPT = "registry_sign_in"
SECURE_ATTEMPT = f"__Host-{ATTEMPT}"
"""The cookie's name over TLS (RFC 6265bis §4.1.3.2).

Under another name, a site of the same domain could plant an attempt, and the reader would sign in as another.
"""
ATTEMPT_SECONDS = 600
MAX_ATTEMPT_LENGTH = 4000

Box = NamedDependency[SkipValidation[SecretBox]]
AnyIdentities = NamedDependency[SkipValidation[Identities]]


class ProviderPages(Controller):
    """Going to the provider and coming back."""

    @get("/sign-in/provider", status_code=303)
    async def get_provider(
        self,
        request: Request,
        identities: AnyIdentities,
        box: Box,
        then: Annotated[str, text("The path of the page to go to after signing in.")] = "/",
    ) -> Response[bytes]:
        """Start an attempt and go to the provider."""
        provider = require_provider(identities)
        # Loaded already, by the provider. Without one it would be loaded on the event loop, for 40 ms.
        from registry.infra.oidc import new_attempt

        attempt = new_attempt(safe_redirect_path(then), ATTEMPT_SECONDS)
        target = await provider.authorization_url(attempt, redirect_uri(request), language_of(attempt.then))
        sealed = box.encrypt(msgspec.json.encode(attempt)).decode()
        return Response(
            b"",
            status_code=303,
            headers={"Location": target, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"},
            cookies=[attempt_cookie(request, sealed, ATTEMPT_SECONDS)],
        )

    @get(CALLBACK, opt={IGNORES_QUERY: True})
    async def get_callback(
        self,
        request: Request,
        public_page: Page,
        identities: AnyIdentities,
        sessions: AnySessions,
        box: Box,
        settings: NamedDependency[SkipValidation[Settings]],
    ) -> Response[bytes]:
        """Check the provider's answer and start a session."""
        provider = require_provider(identities)
        attempt = read_attempt(box, request.cookies.get(attempt_cookie(request, "", 0).key, ""))
        if attempt is not None and (lang := language_of(attempt.then)) is not None:
            public_page = replace(public_page, language=lang, query={"lang": lang})
        try:
            if attempt is None:
                raise Unauthorized("sign_in_state")
            answer = dict(request.query_params.items())
            signed_in = await provider.redeem(attempt, answer, redirect_uri(request))
            credential = await identities.credential(signed_in.identity, is_sign_in=True)
            if credential is None:
                raise Unauthorized("no_rights")
        except Unauthorized as error:
            then = attempt.then if attempt is not None else "/"
            # An answer without an attempt may come from any site: it does not count as a failure of this address.
            status = 400 if error.case == "sign_in_state" else 401
            problem = render_text(error.message, public_page.language)
            return forget_attempt(
                request, render.send(public_page, render_sign_in(public_page, settings, then, problem, status))
            )
        cookie = await start_session(request, sessions, public_page.session, credential)
        # Not a redirect: the browser would count it as the provider's and withhold the session's cookie, which is
        # `SameSite=Strict` (RFC 6265bis §5.2).
        answered = render.send(public_page, render.render(public_page, "signed_in.html", then=attempt.then))
        answered.headers["Cache-Control"] = "no-store"
        answered.headers["Set-Cookie"] = cookie
        answered.cookies.append(remember(request, box, ProviderSession(credential.id, signed_in.id_token)))
        return forget_attempt(request, answered)


def require_provider(identities: Identities) -> Provider:
    """The provider.

    Raises:
        NotFoundException: None is configured.
    """
    if identities.provider is None:
        raise NotFoundException
    return identities.provider


def redirect_uri(request: Request) -> str:
    """Where the provider sends the browser back to; it accepts only what is registered there."""
    return f"{request.url.scheme}://{request.url.netloc}{CALLBACK}"


def read_attempt(box: SecretBox, sealed: str) -> SignInAttempt | None:
    """The attempt of a cookie; None if this service did not make it or it has expired."""
    from registry.infra.oidc import SignInAttempt

    if not sealed or len(sealed) > MAX_ATTEMPT_LENGTH:
        return None
    try:
        attempt = msgspec.json.decode(box.decrypt(sealed.encode()), type=SignInAttempt)
    except (SecretUnreadable, msgspec.DecodeError, UnicodeEncodeError):
        return None
    return attempt if time.time() < attempt.expires_at else None


def attempt_cookie(request: Request, value: str, seconds: int) -> Cookie:
    """The cookie of an attempt. The prefix of its name over TLS demands the path."""
    is_secure = request.url.scheme == "https"
    name, path = (SECURE_ATTEMPT, "/") if is_secure else (ATTEMPT, "/sign-in")
    return Cookie(name, path=path, value=value, max_age=seconds, httponly=True, samesite="lax", secure=is_secure)


def forget_attempt(request: Request, response: Response[bytes]) -> Response[bytes]:
    """Delete the cookie of the attempt: an attempt accepts one answer only."""
    response.cookies.append(attempt_cookie(request, "", 0))
    return response
