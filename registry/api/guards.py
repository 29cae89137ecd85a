"""Guards: who may call a handler, and which query parameters it has.

A handler names the scope that it needs as `opt={"scope": "record"}`. `PUBLIC` needs no key. `ANY_SCOPE` needs a key;
the handler checks the scope of each event. `read` needs none where `REGISTRY_PUBLIC_READ` is true: then reads have no
guard, since Litestar copies the handler for each call of one: 8 of 40 µs of the HTTP layer.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from datetime import date
from functools import cache
from typing import Any, Literal, TypeAlias, get_args, get_origin

from litestar.connection import ASGIConnection, Request
from litestar.exceptions import ValidationException
from litestar.handlers.base import BaseRouteHandler
from litestar.params import ParameterKwarg, PathParameter, QueryParameter
from litestar.typing import FieldDefinition

from registry.errors import Forbidden, InvalidParameter, Unauthorized
from registry.infra.keys import Key, Keys, Scope

Connection: TypeAlias = ASGIConnection[Any, Any, Any, Any]

PUBLIC = "public"
ANY_SCOPE = "any"


async def require_scope(connection: Connection, handler: BaseRouteHandler) -> None:
    """Authenticate the key that a handler needs, and keep it as `request.auth`.

    Raises:
        Unauthorized: There is no key, or an unknown one.
        Forbidden: The key lacks the scope.
    """
    scope = handler.opt["scope"]
    key = await authenticate(connection)
    if scope != ANY_SCOPE:
        check_scope(key, scope)
    connection.scope["auth"] = key


async def require_read_scope(connection: Connection, handler: BaseRouteHandler) -> None:
    """Do the same for handlers that need the scope read, where reading is not public."""
    if handler.opt["scope"] == "read":
        await require_scope(connection, handler)


def is_public(request: Request[Any, Any, Any]) -> bool:
    """Whether a request needed no key, so that shared caches may keep the answer."""
    return request.scope.get("auth") is None


async def authenticate(connection: Connection) -> Key:
    """Return the API key of a request.

    Raises:
        Unauthorized: There is none, or it is unknown.
    """
    authorization = next((value for name, value in connection.scope["headers"] if name == b"authorization"), None)
    if authorization is None:
        raise Unauthorized("missing")
    scheme, _, token = authorization.decode("latin-1").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("header")
    api_keys: Keys = connection.app.state.services.keys
    key = await api_keys.find(token.strip())
    if key is None:
        raise Unauthorized("unknown_key")
    return key


def check_scope(key: Key, scope: Scope) -> None:
    """Check that a key has a scope.

    Raises:
        Forbidden: It has not.
    """
    if not key.allows(scope):
        raise Forbidden(scopes=tuple(sorted(key.scopes)), needs=scope)


# --- parameters -------------------------------------------------------------------------------------------------------

# What msgspec would convert to a type although the OpenAPI document describes less: `1` as a boolean, `1e3` as an
# integer, `null` as an absent value (test_parameters.py).
_FORMS: dict[Any, re.Pattern[str]] = {
    bool: re.compile(r"true|false"),
    int: re.compile(r"\d{1,18}", re.ASCII),
    date: re.compile(r"\d{4}-\d\d-\d\d", re.ASCII),
}
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")


async def check_query(request: Request[Any, Any, Any]) -> None:
    """Check that a query has only parameters of the handler, each once and in its documented form.

    It runs before the handler instead of as a guard: Litestar copies the handler for each guard.

    Raises:
        InvalidParameter: It has another one, one twice, or lacks a required one.
    """
    handler = request.scope["route_handler"]
    given: set[str] = set()
    if request.scope["query_string"]:
        fields = query_fields(handler)
        for name, value in request.query_params.multi_items():
            field = fields.get(name)
            if field is None:
                raise _unknown_parameter(name[:100], fields)
            if name in given:
                raise InvalidParameter("repeated", parameter=name)
            if not has_form(field, value):
                raise invalid_value(name, field, value)
            given.add(name)
    for name in required_fields(handler) - given:
        raise InvalidParameter("missing", parameter=name)


def _unknown_parameter(name: str, fields: Mapping[str, FieldDefinition]) -> InvalidParameter:
    nearest = difflib.get_close_matches(name, fields, 1, 0.5)
    if nearest:
        return InvalidParameter("unknown_similar", parameter=name, similar=nearest[0])
    return InvalidParameter("unknown" if fields else "none", parameter=name, known=tuple(fields))


@cache
def query_fields(handler: BaseRouteHandler) -> dict[str, FieldDefinition]:
    """Return the query parameters of a handler and of the dependencies that it uses, by their public names."""
    return {
        public_name(name, field): field
        for name, field in _fields(handler).items()
        if isinstance(field.kwarg_definition, QueryParameter)
    }


@cache
def required_fields(handler: BaseRouteHandler) -> frozenset[str]:
    """Return the names of the query parameters that a request must have."""
    return frozenset(name for name, field in query_fields(handler).items() if field.is_required)


@cache
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
        return InvalidParameter("choice", parameter=name, known=get_args(type_))
    if type_ is bool:
        return InvalidParameter("boolean", parameter=name)
    if type_ is int:
        return InvalidParameter("integer", parameter=name, low=int(definition.ge or 0), high=int(definition.le or 0))
    if type_ is date:
        if _FORMS[date].fullmatch(value):
            return InvalidParameter("no_such_date", parameter=name, value=value)
        return InvalidParameter("date", parameter=name)
    if definition.title:
        return InvalidParameter(definition.title, parameter=name)
    return InvalidParameter("text", parameter=name, limit=definition.max_length or 0)


def rejected_parameter(
    request: Request[Any, Any, Any], error: ValidationException
) -> tuple[str, FieldDefinition, bool]:
    """Return the parameter that Litestar rejects: its public name, its definition, and whether it is in the path."""
    assert isinstance(error.extra, list)
    name = error.extra[0]["key"]
    field = _fields(request.route_handler)[name]
    return public_name(name, field), field, isinstance(field.kwarg_definition, PathParameter)
