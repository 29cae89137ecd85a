"""Sign in with an API key, and sign out.

The key's secret is kept in a cookie that scripts cannot read and other sites cannot send.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qsl

from litestar import Controller, Response, post, route
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from registry.api.bodies import read_body
from registry.api.parameters import text
from registry.errors import InvalidParameter, Unauthorized
from registry.infra.keys import Key, Keys
from registry.infra.settings import Settings
from registry.web import render
from registry.web.i18n import N_, words
from registry.web.render import Rendered
from registry.web.request import COOKIE, READ, Page, PageRequest, Request, Session, check_csrf, redirect

MAX_FORM_BYTES = 256 * 1024
MAX_FORM_FIELDS = 600
SESSION_SECONDS = 12 * 60 * 60


class SessionPages(Controller):
    """Signing in and out."""

    @route("/sign-in", http_method=READ)
    async def get_sign_in(
        self,
        public_page: Page,
        settings: NamedDependency[SkipValidation[Settings]],
        then: Annotated[str, text("The path of the page to go to after signing in.")] = "/",
    ) -> Response[bytes]:
        """The form that takes an API key."""
        return render.send(public_page, render_sign_in(public_page, settings, safe_redirect_path(then), None, 200))

    @post("/sign-in", status_code=303)
    async def post_sign_in(
        self,
        request: Request,
        public_page: Page,
        api_keys: NamedDependency[Keys],
        settings: NamedDependency[SkipValidation[Settings]],
    ) -> Response[bytes]:
        """Keep a valid API key in a cookie."""
        sent = await read_form(request)
        check_csrf(request, None, "")
        token = sent.get("key", "").strip()
        then = safe_redirect_path(sent.get("then", "/"))
        if not token or await api_keys.find(token) is None:
            problem = words(public_page.language).gettext(N_("Invalid or revoked API key."))
            return render.send(public_page, render_sign_in(public_page, settings, then, problem, 401))
        secure = "; Secure" if request.url.scheme == "https" else ""
        return redirect(then, f"{COOKIE}={token}; Path=/; Max-Age={SESSION_SECONDS}; HttpOnly; SameSite=Strict{secure}")

    @post("/sign-out", status_code=303)
    async def post_sign_out(
        self, request: Request, session: NamedDependency[SkipValidation[Session]]
    ) -> Response[bytes]:
        """Delete the cookie."""
        sent = await read_form(request)
        check_csrf(request, session.token, sent.get("csrf", ""))
        return redirect("/", f"{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict")


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a posted form.

    Raises:
        UnsupportedMediaType: The body is not a form.
        TooLarge: It is over the limit.
        InvalidParameter: It cannot be decoded.
    """
    body = await read_body(request, "application/x-www-form-urlencoded", MAX_FORM_BYTES)
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS))
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
    public_read = settings.public_read
    return render.render(page, "sign_in.html", status, then=then, problem=problem, public_read=public_read)


def safe_redirect_path(target: str) -> str:
    """A path of this site; the overview for anything else."""
    safe = target.startswith("/") and not target.startswith(("//", "/\\")) and not set(target) & set("\r\n\t\\")
    return target if safe else "/"


def require_key(page: PageRequest) -> Key:
    """The signed-in API key.

    Raises:
        Unauthorized: There is none; the error page leads to the sign-in page.
    """
    if page.key is None:
        raise Unauthorized("sign_in_to_record")
    return page.key
