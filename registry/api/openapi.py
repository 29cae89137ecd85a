"""The OpenAPI 3.1 document: Litestar generates it from the handlers, msgspec gives the schemas.

Every answer that a test receives is checked against it (tests/service.py, tests/api/test_contract_fuzz.py).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from types import UnionType
from typing import Annotated, Any, ClassVar, Union, get_args

import msgspec
from litestar import HttpMethod, MediaType, Router, route
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import (
    Components,
    Example,
    License,
    OpenAPIMediaType,
    OpenAPIResponse,
    OpenAPIType,
    Operation,
    Parameter,
    RequestBody,
    Schema,
    SecurityRequirement,
    SecurityScheme,
    Tag,
)
from litestar.params import Body, BodyKwarg, ParameterKwarg
from litestar.plugins import OpenAPISchemaPlugin
from litestar.response import Redirect
from litestar.types import ExceptionHandlersMap
from litestar.typing import FieldDefinition

import registry
from registry.http.guards import ANY_SCOPE, PUBLIC, value_type
from registry.http.problems import PROBLEMS, text
from registry.schemas import ProblemDocument
from registry.schemas.values import response_schema_hook

DESCRIPTION = """\
A registry of investment commitments: who announced what, how much, where, by when, on which source, and what became of
it. Announcements are immutable events; every answer can be dated, explained and proved.

**Three time axes.** Every state can be read as of a point in time: `effective_on` (when it is in effect),
`published_on` (when it was published) and `recorded_at` or `position` (when this registry recorded it). Each means "no
later than". Left out, `effective_on` is today in the registry's time zone, or, where `recorded_at`, `position` or
`Accept-Datetime` fixes the log, the day at which the log stood there; the others are open. For one deal and for
organizations they can be combined; lists, totals, searches, exported tables and comparisons of all deals take
`effective_on` with either `published_on`, or `recorded_at` or `position`.

**Errors** are problem documents (RFC 9457); [each code is explained](/docs/problems).
"""

LICENCE = """
**Licence of the data**: [{licence.name}]({licence.url}), also in the `Link` header with `rel="license"`.
"""

TAGS = {
    "Deals": "Record announcements about a deal; read its state, its history and its sources.",
    "Portfolio": "All deals at a point in time: lists, totals, comparisons.",
    "Organizations": "Companies and public bodies: names, identifiers, parents.",
    "Principals": "People and systems that may write: their keys and their rights.",
    "Proposals": "Announcements that wait for another principal to approve or reject them.",
    "Log": "Every event in the order of recording, and the proofs that none was changed.",
    "Service": "Health, metrics, and this document.",
}

REF = "#/components/schemas/{name}"

# Codes of the problems that handlers have in common.
OPEN = ("bad_query", "failed", "rate_limited")
READING = (
    *OPEN,
    "unauthorized",
    "read_only_mirror",
    "query_too_long",
    "database_lost",
    "storage_unavailable",
    "portfolio_unavailable",
    "provider_unavailable",
)
WRITING = (
    *READING,
    "not_json",
    "incomplete",
    "forbidden",
    "approval_required",
    "too_slow",
    "rule_broken",
    "id_conflict",
    "version_conflict",
    "too_large",
    "entry_too_large",
    "unsupported_media_type",
    "invalid",
    "idempotency_conflict",
    "overloaded",
    "clock_unsafe",
    "redaction_unavailable",
)
ADMINISTERING = (*READING, "forbidden")

NOT_MODIFIED = {304: ResponseSpec(None, description="The client's stored answer is current.", generate_examples=False)}
MERGED = {308: ResponseSpec(None, description="Merged into another record: follow Location.", generate_examples=False)}


# --- handlers ---------------------------------------------------------------------------------------------------------


class _Read(route):
    """A handler whose exception handlers are merged once. Litestar merges them for each request, in 0.65 µs."""

    _merged: ExceptionHandlersMap | None = None

    def resolve_exception_handlers(self) -> ExceptionHandlersMap:
        if self._merged is None:
            self._merged = super().resolve_exception_handlers()
        return self._merged


def reading(
    path: str,
    *refusals: str,
    scope: str = "read",
    other: Mapping[str, str] | None = None,
    headers: Sequence[Parameter] = (),
    responses: Mapping[int, ResponseSpec] | None = None,
    opt: Mapping[str, Any] | None = None,
    **options: Any,
) -> HTTPRouteHandler:
    """Make a handler of GET and HEAD, with its problem responses.

    Args:
        path: The path, below the controller's.
        refusals: Codes of problems beside those that every read has.
        scope: The scope that a key needs.
        other: What media types beside the handler's own hold.
        headers: Headers beside those that are parameters of the handler.
        responses: Responses beside success and problems.
        opt: Options beside the scope that hooks and middleware read.
        options: Options of Litestar's `route`.
    """
    common = OPEN if scope == PUBLIC else READING if scope == "read" else ADMINISTERING
    return _Read(
        path,
        http_method=[HttpMethod.GET, HttpMethod.HEAD],
        opt={"scope": scope, **(opt or {})},
        security=_security(scope),
        responses={**problem_responses(*common, *refusals), **(responses or {})},
        operation_class=_operation_class(other or {}, headers=headers),
        **options,
    )


def writing(
    method: Callable[..., HTTPRouteHandler],
    path: str,
    *refusals: str,
    scope: str = ANY_SCOPE,
    body: Any = None,
    body_type: str = "application/json",
    examples: Mapping[str, Any] | None = None,
    headers: Sequence[Parameter] = (),
    responses: Mapping[int, ResponseSpec] | None = None,
    opt: Mapping[str, Any] | None = None,
    **options: Any,
) -> HTTPRouteHandler:
    """Make a handler of a method that changes something, with its request body and its problem responses.

    Args:
        method: Litestar's decorator, such as `post`.
        path: The path, below the controller's.
        refusals: Codes of problems beside the common ones.
        scope: The scope that a key needs.
        body: The type of the request's body.
        body_type: The media type of the body.
        examples: Bodies by name.
        headers: Headers beside those that are parameters of the handler.
        responses: Responses beside success and problems.
        opt: Options beside the scope that hooks and middleware read.
        options: Options of the decorator.
    """
    common = ADMINISTERING if body is None else WRITING
    return method(
        path,
        opt={"scope": scope, **(opt or {})},
        security=_security(scope),
        dependencies={} if body is None else {"documented_body": _documented_body(body, body_type)},
        responses={**problem_responses(*common, *refusals), **(responses or {})},
        operation_class=_operation_class({}, examples or {}, headers),
        **options,
    )


def _security(scope: str) -> list[SecurityRequirement]:
    if scope == PUBLIC:
        return [{}]
    return [{}, {"key": ["read"]}] if scope == "read" else [{"key": ["record" if scope == ANY_SCOPE else scope]}]


def _documented_body(body: Any, media_type: str) -> Provide:
    """Give Litestar the type of a body to document.

    Litestar documents the `data` parameter of a handler's dependencies. No handler uses this one, so Litestar does not
    decode the body: the handlers decode its bytes strictly (registry/http/bodies.py).
    """

    def documented_body(data: Any) -> None:
        """Do nothing."""

    type_ = Union[get_args(body)] if isinstance(body, UnionType) else body  # noqa: UP007 - see MsgspecSchemas
    documented_body.__annotations__["data"] = Annotated[type_, Body(media_type=media_type)]
    return Provide(documented_body, sync_to_thread=False)


def problem_responses(*codes: str) -> dict[int, ResponseSpec]:
    """Return the responses that problems have, by status."""
    by_status: dict[int, list[str]] = {}
    for code in dict.fromkeys(codes):
        by_status.setdefault(PROBLEMS[code].status, []).append(code)
    return {
        status: ResponseSpec(
            ProblemDocument,
            description="\n\n".join(f"**{code}** – {text(code, 'title')}. {text(code, 'meaning')}" for code in group),
            media_type="application/problem+json",
            generate_examples=False,
        )
        for status, group in sorted(by_status.items())
    }


@dataclass
class ApiOperation(Operation):
    """An operation whose summary is the first line of the handler's docstring; HEAD has no content."""

    other_media_types: ClassVar[Mapping[str, str]] = {}
    body_examples: ClassVar[Mapping[str, Any]] = {}
    headers: ClassVar[Sequence[Parameter]] = ()

    def __post_init__(self) -> None:
        summary, _, description = (self.description or "").partition("\n")
        self.summary, self.description = summary, description.strip() or None
        self.parameters = [*(self.parameters or []), *self.headers] or None
        for parameter in self.parameters or []:
            if isinstance(parameter, Parameter) and isinstance(parameter.schema, Schema):
                _remove_null(parameter.schema)
        if (self.operation_id or "").startswith("head_"):
            self.summary += " (headers only)"
            self._remove_content()
        else:
            self._add_media_types()
        if isinstance(self.request_body, RequestBody) and self.body_examples:
            for media in self.request_body.content.values():
                media.examples = {name: Example(value=value) for name, value in self.body_examples.items()}

    def _remove_content(self) -> None:
        for response in (self.responses or {}).values():
            if isinstance(response, OpenAPIResponse):
                response.content = None

    def _add_media_types(self) -> None:
        for status, response in (self.responses or {}).items():
            if status.startswith("2") and isinstance(response, OpenAPIResponse) and response.content is not None:
                for media_type, description in self.other_media_types.items():
                    type_ = None if media_type.endswith("json") else OpenAPIType.STRING
                    schema = Schema(type=type_, description=description)
                    response.content[media_type] = OpenAPIMediaType(schema=schema)


def _operation_class(
    other: Mapping[str, str], examples: Mapping[str, Any] | None = None, headers: Sequence[Parameter] = ()
) -> type[ApiOperation]:
    documented = {"other_media_types": other, "body_examples": examples or {}, "headers": headers}
    return type("ApiOperation", (ApiOperation,), documented)


def _remove_null(schema: Schema) -> None:
    """Make the schema of an optional parameter that of its values: a query or a header has no null."""
    values = [option for option in schema.one_of or () if not (isinstance(option, Schema) and option.type == "null")]
    if len(values) == 1 and isinstance(values[0], Schema):
        schema.one_of = None
        for field in fields(Schema):
            value = getattr(values[0], field.name)
            if value is not None:
                setattr(schema, field.name, value)


def operation_id(handler: HTTPRouteHandler, method: Any, _: Iterable[Any]) -> str:
    """Return the name of an operation: its handler's."""
    return f"head_{handler.handler_name}" if method == HttpMethod.HEAD else handler.handler_name


# --- schemas ----------------------------------------------------------------------------------------------------------


class MsgspecSchemas(OpenAPISchemaPlugin):
    """Schemas by msgspec, for every type.

    Litestar's own have no discriminator for tagged unions, no `additionalProperties: false` and no patterns.
    """

    def __init__(self) -> None:
        self._components: dict[str, FieldDefinition] = {}
        self._schemas: dict[Any, tuple[dict[str, Any], dict[str, Schema]]] = {}

    def is_plugin_supported_field(self, field_definition: FieldDefinition) -> bool:
        """Every field is, except for `X | Y`: Litestar asks for the name of its type, and it has none."""
        return not isinstance(field_definition.annotation, UnionType)

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: Any) -> Any:
        """Return the schema of a field, and register the schemas that it refers to."""
        type_ = field_definition.annotation
        if isinstance(field_definition.kwarg_definition, ParameterKwarg):
            type_ = value_type(field_definition)
        schema, components = self._schema_of(type_)
        registry = schema_creator.schema_registry
        for name, component in components.items():
            registered = registry.get_schema_for_field_definition(self._component(name))
            registered.__dict__.update(component.__dict__)
        if "$ref" in schema:
            return registry.get_reference_for_field_definition(self._component(schema["$ref"].rpartition("/")[2]))
        return _schema(schema)

    def _schema_of(self, type_: Any) -> tuple[dict[str, Any], dict[str, Schema]]:
        """The schema of a type and those that it refers to, made once: many routes answer with the same types."""
        if type_ not in self._schemas:
            [schema], components = msgspec.json.schema_components(
                [type_], ref_template=REF, schema_hook=response_schema_hook
            )
            self._schemas[type_] = schema, {name: _schema(component) for name, component in components.items()}
        return self._schemas[type_]

    def _component(self, name: str) -> FieldDefinition:
        if name not in self._components:
            self._components[name] = FieldDefinition.from_kwarg(
                Any, name, kwarg_definition=BodyKwarg(schema_component_key=name)
            )
        return self._components[name]


def _schema(schema: Mapping[str, Any]) -> Schema:
    names = Schema.field_aliases()
    values = {names.get(key, key): value for key, value in _portable(schema).items()}
    if "description" in values:
        values["description"] = inspect.cleandoc(values["description"])
    return Schema(**values)


def _portable(schema: Any) -> Any:
    """Return a schema without what generators of clients misread (tests/clients/test_generators.py).

    openapi-python-client stops at `items: false`, which msgspec gives to tuples of a fixed length (the items get their
    common schema), and at an enumeration of booleans. openapi-typescript makes a property with a default required in
    bodies: the description says it.
    """
    if isinstance(schema, list):
        return [_portable(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    portable = {name: _portable(value) for name, value in schema.items()}
    if portable.get("items") is False:
        kinds = portable.pop("prefixItems")
        portable["items"] = kinds[0] if all(kind == kinds[0] for kind in kinds) else {"anyOf": kinds}
    if portable.get("enum") in ([True], [False]):
        portable = {**portable, "type": "boolean"}
        del portable["enum"]
    for property_ in portable.get("properties", {}).values():
        default = property_.pop("default", None)
        if default not in (None, []):
            said = f"{property_.get('description', '')} If left out: `{default}`."
            property_["description"] = said.strip()
    return portable


def openapi_config() -> OpenAPIConfig:
    """Return what the document has beside its operations."""
    key = SecurityScheme(type="http", scheme="bearer", description="An API key of this registry.")
    return OpenAPIConfig(
        title="Investment registry",
        version=registry.version(),
        description=DESCRIPTION,
        license=License(name="Apache-2.0", identifier="Apache-2.0"),
        tags=[Tag(name=name, description=description) for name, description in TAGS.items()],
        components=Components(security_schemes={"key": key}),
        use_handler_docstrings=True,
        operation_id_creator=operation_id,
        # Litestar has routes of its own for the document, and makes it on the event loop, for 250 ms. They redirect to
        # /openapi.json, which with /docs is a handler of ours, with an ETag, HEAD, and no inline scripts (docs.py).
        openapi_router=Router(
            "/docs/openapi", route_handlers=[], include_in_schema=False, before_request=_redirect_to_document
        ),
        render_plugins=[JsonRenderPlugin()],
    )


async def _redirect_to_document(_: Any) -> Redirect:
    return Redirect("/openapi.json", status_code=308, media_type=MediaType.TEXT)
