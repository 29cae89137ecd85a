"""Sign in with an API key, sign out, and the sessions of the reader who has signed in (`provider.py`: through OpenID).

The cookie holds the secret of a session, never a key. Scripts cannot read it and other sites cannot send it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import parse_qsl

from litestar import Controller, Response, post, route
from litestar.di import NamedDependency
from litestar.params import FromPath, SkipValidation
from msgspec.structs import replace

from registry.append.identities import Identities
from registry.domain.principal import Credential
from registry.errors import InvalidParameter, NotFound, Unauthorized
from registry.formatting.language import N_, words
from registry.http.bodies import decoder, read_body
from registry.http.parameters import text
from registry.http.responses import base_url
from registry.infra.secret_box import SecretBox
from registry.infra.sessions import LIFETIME, Sessions
from registry.infra.settings import Settings
from registry.queries.principals import Principals
from registry.web.page import render
from registry.web.page.render import Rendered
from registry.web.page.request import (
    READ,
    Page,
    PageRequest,
    Request,
    Session,
    check_csrf,
    cookie_name,
    in_language,
    redirect,
    session,
)
from registry.web.sign_in import provider_session
from registry.web.sign_in.browsers import browser_of

MAX_FORM_BYTES = 256 * 1024
MAX_FORM_FIELDS = 600

AnySessions = NamedDependency[SkipValidation[Sessions]]


class SessionPages(Controller):
    """Signing in and out, and the reader's sessions."""

    @route("/sign-in", http_method=READ)
    async def get_sign_in(
        self,
        public_page: Page,
        settings: NamedDependency[SkipValidation[Settings]],
        then: Annotated[str, text("The path of the page to go to after signing in.")] = "/",
    ) -> Response[bytes]:
        """The form that takes an API key."""
        then = in_language(safe_redirect_path(then), public_page.query.get("lang"))
        return render.send(public_page, render_sign_in(public_page, settings, then, None, 200))

    @post("/sign-in", status_code=303)
    async def post_sign_in(
        self,
        request: Request,
        public_page: Page,
        principals: NamedDependency[Principals],
        sessions: AnySessions,
        settings: NamedDependency[SkipValidation[Settings]],
    ) -> Response[bytes]:
        """Start a session for the holder of a valid API key. An access token, which lives for minutes, starts none."""
        sent = await read_form(request)
        check_csrf(request, None, "")
        key = sent.get("key", "").strip()
        then = safe_redirect_path(sent.get("then", "/"))
        credential = await principals.find(key) if key else None
        if credential is None:
            problem = words(public_page.language).gettext(N_("Invalid or revoked API key."))
            return render.send(public_page, render_sign_in(public_page, settings, then, problem, 401))
        return redirect(then, await start_session(request, sessions, public_page.session, credential))

    @post("/sign-out", status_code=303)
    async def post_sign_out(
        self,
        request: Request,
        public_page: Page,
        sessions: AnySessions,
        identities: NamedDependency[SkipValidation[Identities]],
        box: NamedDependency[SkipValidation[SecretBox]],
        settings: NamedDependency[SkipValidation[Settings]],
    ) -> Response[bytes]:
        """End the session and delete its cookie; who has signed in at the provider signs out there too."""
        sent = await read_form(request)
        session = public_page.session
        check_csrf(request, session.token, sent.get("csrf", ""))
        url = None
        if session.id is not None and session.key is not None:
            await sessions.end(session.id, session.key.id)
            then, lang = f"{base_url(request)}/", public_page.query.get("lang")
            url = await provider_session.sign_out_url(request, box, identities, session.key.id, then, lang)
        if url is None:
            answer = redirect(public_page.link("/"))
        else:
            # Not a redirect: browsers refuse one to another site after a form (`form-action`).
            page = replace(public_page, session=Session())
            provider = settings.oidc.display_name if settings.oidc is not None else ""
            answer = render.send(page, render.render(page, "signed_out.html", provider_url=url, provider=provider))
            answer.headers["Cache-Control"] = "no-store"
        answer.headers["Set-Cookie"] = session_cookie(request, "", 0)
        answer.cookies.append(provider_session.forget(request))
        # Pages that the browser kept, such as those behind its Back button.
        answer.headers["Clear-Site-Data"] = '"cache"'
        return answer

    @route("/sessions", http_method=READ)
    async def get_sessions(self, public_page: Page, sessions: AnySessions) -> Response[bytes]:
        """The sessions of the principal who has signed in."""
        key = require_key(public_page)
        rows = await sessions.of_principal(key.id, datetime.now(UTC))
        return render.send(
            public_page, render.render(public_page, "sessions.html", sessions=rows, browser_of=browser_of)
        )

    @post("/sessions/{id:str}/end", status_code=303)
    async def post_end(self, public_page: Page, sessions: AnySessions, id: FromPath[str]) -> Response[bytes]:
        """End one of the principal's sessions."""
        _, key = await read_signed_form(public_page)
        if not await sessions.end(id[:80], key.id):
            raise NotFound("session", session=id[:80])
        return redirect(public_page.link("/sessions"))

    @post("/sessions/end-others", status_code=303)
    async def post_end_others(self, public_page: Page, sessions: AnySessions) -> Response[bytes]:
        """End all of the principal's sessions but this one."""
        _, key = await read_signed_form(public_page)
        assert public_page.session.id is not None
        await sessions.end_others(key.id, public_page.session.id)
        return redirect(public_page.link("/sessions"))


async def start_session(request: Request, sessions: Sessions, former: Session, credential: Credential) -> str:
    """Start a session, end the one that the browser had, and return the new cookie.

    A session that was started before the sign-in is never taken over (session fixation).
    """
    if former.id is not None and former.key is not None:
        await sessions.end(former.id, former.key.id)
    agent = request.headers.get("user-agent", "")
    secret = await sessions.create(credential.id, credential.key, agent, datetime.now(UTC))
    return session_cookie(request, secret, int(LIFETIME.total_seconds()))


def session_cookie(request: Request, secret: str, seconds: int) -> str:
    """The cookie of a session; no seconds delete it."""
    secure = "; Secure" if request.url.scheme == "https" else ""
    return f"{cookie_name(request)}={secret}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"


async def read_form(
    request: Request, max_bytes: int = MAX_FORM_BYTES, max_fields: int = MAX_FORM_FIELDS
) -> dict[str, str]:
    """The fields of a posted form.

    Raises:
        UnsupportedMediaType: The body is not a form.
        TooLarge: It is over the limit.
        InvalidParameter: It cannot be decoded.
        Overloaded: Too many bodies wait to be decoded.
    """
    body = await read_body(request, "application/x-www-form-urlencoded", max_bytes)

    def fields(body: bytes) -> dict[str, str]:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=max_fields))

    try:
        return await decoder.decode(fields, body)
    except ValueError:
        raise InvalidParameter("form", parameter="form") from None


def render_sign_in(page: PageRequest, settings: Settings, then: str, problem: str | None, status: int) -> Rendered:
    """The sign-in page.

    Args:
        page: The request.
        settings: Tell whether reading needs a key.
        then: Where to go after signing in.
        problem: Why the last attempt failed.
        status: The HTTP status.
    """
    provider = settings.oidc.display_name if settings.oidc is not None else None
    public_read = settings.public_read
    context = {"then": then, "problem": problem, "public_read": public_read, "provider": provider}
    return render.render(page, "sign_in.html", status, **context)


def safe_redirect_path(target: str) -> str:
    """A path of this site; the overview for anything else."""
    safe = target.startswith("/") and not target.startswith(("//", "/\\")) and not set(target) & set("\r\n\t\\")
    return target if safe else "/"


async def read_signed_form(
    page: PageRequest, max_bytes: int = MAX_FORM_BYTES, max_fields: int = MAX_FORM_FIELDS
) -> tuple[dict[str, str], Credential]:
    """The fields of a form that the holder of a session has posted from a page of this service, and the holder's key.

    Raises:
        UnsupportedMediaType, TooLarge, InvalidParameter: As `read_form`.
        Unauthorized: The request has no session.
        CsrfError: The form was made for another session, or sent from another site.
    """
    sent = await read_form(page.request, max_bytes, max_fields)
    # It may have ended while the form arrived. Litestar resolves dependencies for handlers only.
    services = page.request.app.state.services
    page.session = await session(page.request, services.principals, services.sessions)
    key = require_key(page)
    check_csrf(page.request, page.session.token, sent.get("csrf", ""))
    return sent, key


def require_key(page: PageRequest) -> Credential:
    """The principal who has signed in.

    Raises:
        Unauthorized: There is none; the error page leads to the sign-in page.
    """
    if page.key is None:
        raise Unauthorized("sign_in_to_record")
    return page.key
