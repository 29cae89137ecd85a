"""What a request must pass before its handler runs: a key with the scope, and only the query parameters it has.

A handler names the scope that it needs as `opt={"scope": "record"}`. `PUBLIC` needs no key. `ANY_SCOPE` needs a key;
the handler checks the scope of each event. `read` needs none where `REGISTRY_PUBLIC_READ` is true.

The checks are the router's `before_request` hook instead of a Litestar guard, because Litestar copies the handler for
each call of a guard: 11 of the 380 µs of a post.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from datetime import date
from functools import partial
from typing import Any, Final, Literal, NamedTuple, get_args, get_origin

from litestar import HttpMethod
from litestar.exceptions import ValidationException
from litestar.handlers.base import BaseRouteHandler
from litestar.params import ParameterKwarg, PathParameter, QueryParameter
from litestar.typing import FieldDefinition

from registry.append.identities import Identities, is_access_token
from registry.domain.principal import Credential
from registry.domain.totals import GROUPINGS
from registry.errors import Forbidden, InvalidParameter, ReadOnlyMirror, Unauthorized
from registry.events.values import Scope
from registry.http.bodies import CHECK_AGAIN, WHOLE_BODY, Request, header

PUBLIC: Final = "public"
ANY_SCOPE: Final = "any"

READS = (HttpMethod.GET, HttpMethod.HEAD)

# The option of a handler in which its parameters are kept, once they are known. A cache of its own would keep the whole
# application of a service that has stopped.
_QUERY_FIELDS = "query_fields"

# The option of a handler that accepts every query.
IGNORES_QUERY = "ignores_query"


async def check_request(request: Request) -> None:
    """Check a request's key, then its query. The hook that runs before each handler."""
    if request.method == HttpMethod.OPTIONS:
        return
    opt = request.route_handler.opt
    scope = opt["scope"]
    if scope != PUBLIC and not (scope == "read" and request.app.state.settings.public_read):
        refuse_on_mirror(request)
        await authorize(request, scope)
        if WHOLE_BODY not in request.scope["state"]:
            # The key's rights may end while the body arrives (tests/limits/test_slow_bodies.py).
            request.scope["state"][CHECK_AGAIN] = partial(authorize, scope=scope)
    if IGNORES_QUERY not in opt:
        await check_query(request)


def refuse_on_mirror(request: Request) -> None:
    """Refuse what needs a key on a mirror, which has no principals of its own.

    Raises:
        ReadOnlyMirror: This service is a mirror.
    """
    status = request.app.state.services.mirror
    if status is not None:
        raise ReadOnlyMirror(url=status.url)


async def authorize(request: Request, scope: Scope | Literal["any"]) -> None:
    """Check that the request's key has the scope, and keep the key as `request.auth`.

    Raises:
        Unauthorized: There is no key, or an unknown one.
        Forbidden: The key lacks the scope, or it has limits and would administer.
    """
    key = await authenticate(request)
    if scope != ANY_SCOPE:
        check_scope(key, scope)
    if scope == "admin" and request.method not in READS and key.rights.is_limited:
        # It could give itself a key without limits, or send the messages of others elsewhere.
        raise Forbidden("limited")
    request.scope["auth"] = key


def check_may_read(request: Request) -> None:
    """Check that a key, whatever else it is for, may read. For handlers of `ANY_SCOPE` that answer what is recorded.

    Raises:
        Forbidden: Reading needs the scope `read`, and the key lacks it.
    """
    if not may_read(request):
        raise Forbidden.scope(request.auth.scopes, "read")


def may_read(request: Request) -> bool:
    """Whether a key that is for writing may read, too."""
    return bool(request.app.state.settings.public_read or request.auth.allows("read"))


def is_public(request: Request) -> bool:
    """Whether a request needed no key, so that shared caches may keep the answer."""
    return request.scope.get("auth") is None


async def authenticate(request: Request) -> Credential:
    """Return the credential of a request's API key or access token.

    Raises:
        Unauthorized: There is none, or it is unknown.
    """
    authorization = header(request, b"authorization")
    if authorization is None:
        raise Unauthorized("missing")
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("header")
    # Litestar resolves dependencies for handlers only, not for hooks.
    identities: Identities = request.app.state.services.identities
    key = await identities.find(token.strip())
    if key is None:
        raise Unauthorized("unknown_token" if is_access_token(token.strip()) else "unknown_key")
    return key


def check_scope(key: Credential, scope: Scope) -> None:
    """Check that a key has a scope.

    Raises:
        Forbidden: It has not.
    """
    if not key.allows(scope):
        raise Forbidden.scope(key.scopes, scope)


# --- parameters -------------------------------------------------------------------------------------------------------

# What msgspec would convert to a type although the OpenAPI document describes less: `1` as a boolean, `1e3` as an
# integer, `null` as an absent value (test_parameters.py).
_FORMS: dict[Any, re.Pattern[str]] = {
    bool: re.compile(r"true|false"),
    int: re.compile(r"\d{1,18}", re.ASCII),
    date: re.compile(r"\d{4}-\d\d-\d\d", re.ASCII),
}
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")


async def check_query(request: Request) -> None:
    """Check that a query has only parameters of the handler, each once and in its documented form.

    Raises:
        InvalidParameter: It has another one, one twice, or lacks a required one.
    """
    handler = request.scope["route_handler"]
    given: set[str] = set()
    if request.scope["query_string"]:
        fields = query_fields(handler).by_name
        for name, value in request.query_params.multi_items():
            field = fields.get(name)
            if field is None:
                raise _unknown_parameter(name[:100], fields)
            if name in given:
                raise InvalidParameter("repeated", parameter=name)
            if not has_form(field, value):
                raise invalid_value(name, field, value)
            given.add(name)
    for name in query_fields(handler).required - given:
        raise InvalidParameter("missing", parameter=name)


def _unknown_parameter(name: str, fields: Mapping[str, FieldDefinition]) -> InvalidParameter:
    nearest = difflib.get_close_matches(name, fields, 1, 0.5)
    if nearest:
        return InvalidParameter("unknown_similar", parameter=name, similar=nearest[0])
    return InvalidParameter("unknown" if fields else "none", parameter=name, known=tuple(fields))


class QueryFields(NamedTuple):
    """The query parameters of a handler, and the names of those that a request must have."""

    by_name: dict[str, FieldDefinition]
    required: frozenset[str]


def query_fields(handler: BaseRouteHandler) -> QueryFields:
    """Return the query parameters of a handler and of the dependencies that it uses, by their public names."""
    known: QueryFields | None = handler.opt.get(_QUERY_FIELDS)
    if known is None:
        by_name = {
            public_name(name, field): field
            for name, field in _fields(handler).items()
            if isinstance(field.kwarg_definition, QueryParameter)
        }
        known = QueryFields(by_name, frozenset(name for name, field in by_name.items() if field.is_required))
        handler.opt[_QUERY_FIELDS] = known
    return known


def _fields(handler: BaseRouteHandler) -> dict[str, FieldDefinition]:
    """Return the parameters of a handler and of the dependencies that it uses, by their names in the code."""
    dependencies = handler.resolve_dependencies()
    fields: dict[str, FieldDefinition] = {}
    pending = [handler.parsed_fn_signature]
    while pending:
        for name, field in pending.pop().parameters.items():
            if name in dependencies:
                pending.append(dependencies[name].parsed_fn_signature)
            else:
                fields[name] = field
    return fields


def public_name(name: str, field: FieldDefinition) -> str:
    """Return the name under which a client sends a parameter."""
    definition = field.kwarg_definition
    return (definition.name if isinstance(definition, ParameterKwarg) else None) or name


def value_type(field: FieldDefinition) -> Any:
    """Return the type of a parameter that is given."""
    [type_] = (
        [part for part in get_args(field.annotation) if part is not type(None)]
        if field.is_optional
        else [field.annotation]
    )
    return type_


def has_form(field: FieldDefinition, value: str) -> bool:
    """Whether a value has the form of its type."""
    type_ = value_type(field)
    if get_origin(type_) is Literal:
        return value in get_args(type_)
    form = _FORMS.get(type_)
    return form.fullmatch(value) is not None if form else _CONTROL_CHARACTERS.search(value) is None


def invalid_value(name: str, field: FieldDefinition, value: str) -> InvalidParameter:
    """Return the error of a parameter's value: it says which values the parameter accepts."""
    type_, definition = value_type(field), field.kwarg_definition
    assert isinstance(definition, ParameterKwarg)
    if get_origin(type_) is Literal:
        # Of a parameter that takes several names with commas between them, the names.
        names = dict.fromkeys(part for choice in get_args(type_) for part in choice.split(","))
        return InvalidParameter("choice", parameter=name, known=tuple(names))
    if type_ is bool:
        return InvalidParameter("boolean", parameter=name)
    if type_ is int:
        return InvalidParameter("integer", parameter=name, low=int(definition.ge or 0), high=int(definition.le or 0))
    if type_ is date:
        if _FORMS[date].fullmatch(value):
            return InvalidParameter("no_such_date", parameter=name, value=value)
        return InvalidParameter("date", parameter=name)
    if definition.title == "grouping":
        return InvalidParameter("grouping", parameter=name, known=GROUPINGS)
    if definition.title:
        return InvalidParameter(definition.title, parameter=name)
    return InvalidParameter("text", parameter=name, limit=definition.max_length or 0)


def rejected_parameter(request: Request, error: ValidationException) -> tuple[str, FieldDefinition, bool]:
    """Return the parameter that Litestar rejects: its public name, its definition, and whether it is in the path."""
    assert isinstance(error.extra, list)
    name = error.extra[0]["key"]
    field = _fields(request.route_handler)[name]
    return public_name(name, field), field, isinstance(field.kwarg_definition, PathParameter)
