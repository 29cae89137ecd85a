"""The API's contract as OpenAPI 3.1, made from the operations, their parameters and the shapes themselves.

It says nothing that the code does not: every schema is that of the type which decodes or describes the bytes. Tests
hold the routes, their parameters and every answer to it (tests/api/test_openapi.py).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from registry.api.operation import Operation
from registry.api.problems import PROBLEMS
from registry.schemas import ProblemDocument

REF = "#/components/schemas/{name}"

DESCRIPTION = """\
A registry of investment commitments: who announced what, how much, where, by when, who said so, and what became of it.
Announcements are immutable events; every answer can be dated, explained and proved.

**Three clocks.** Every state can be asked for as of a point in time: `effective_on` (from when it is so in the world),
`published_on` (when the public could know) and `recorded_at` or `position` (when this registry wrote it down). Each
means "no later than"; left out, `effective_on` is today and the others are open.

**Errors** are problem documents (RFC 9457); [each kind is explained](/docs/problems).
"""

TAGS = {
    "Deals": "Record announcements about a deal, and ask for its state, its history and what explains it.",
    "Portfolio": "All deals at a point in time: lists, totals, comparisons.",
    "Organizations": "Who the parties are: names, identifiers, parents.",
    "Log": "Every event in the order of recording, and the proofs that none was changed since.",
    "Service": "Whether the service is well, and this documentation.",
}

# What a parameter means, by its name; `from.` and `to.` stand before a clock's.
PARAMETERS = {
    "deal": "A deal's name.",
    "organization": "An organization's name.",
    "id": "An event's id, a UUID.",
    "effective_on": "As it was in the world on this day; today when left out.",
    "published_on": "As the public could know by this day.",
    "recorded_at": "As this registry had recorded by this instant.",
    "position": "As the log stood at this position; 0 is before its first event.",
    "dry_run": "Answer what would change, and record nothing.",
    "expand": "Join the parties' names of today (`organizations`), other deals' relations to this one (`incoming`).",
    "certificate": "Answer with a bundle that can be checked offline.",
    "role": "Deals with a party in this role; with `organization`, with that one in this role.",
    "region": "Deals with a site in this ISO 3166 country or subdivision.",
    "sector": "Deals of this sector.",
    "stage": "Deals at this stage.",
    "commitment": "Deals with a pledge that stands and is this binding.",
    "currency": "An ISO 4217 code: for lists, deals with a pledge in this currency; for totals, what to convert to.",
    "kind": "Deals of this kind.",
    "q": "Text that the name or a title contains.",
    "sort": "The order of the list.",
    "cursor": "Where the page begins: `next` of the page before.",
    "limit": "The most entries to answer with.",
    "facets": "Count the deals that each value of each filter would leave.",
    "group_by": "What to group the totals by.",
    "roll_up": "Count an organization under the one that ultimately owned or controlled it (`parent`).",
    "rates_of": "Convert with the rates of this day, not of the day each amount was stated; never later ones.",
    "explain": "Add the derivation as a tree.",
    "lines": "The most pledges to list in each group.",
    "after": "Events behind this position.",
    "type": "Events of this type.",
    "atomic": "Record all lines or none.",
    "source": "Events that rest on the source with this address.",
    "size": "The tree of the first so many events; that of the newest checkpoint when left out.",
    "from": "The earlier size.",
    "to": "The later size; that of the newest checkpoint when left out.",
    "webhook": "A webhook's id.",
    "tile": "A path of C2SP tlog-tiles behind `tile/`.",
}

HEADERS = {
    "If-Match": ("The ETag of the version that this builds on: refused with 412 if the deal has moved on.", '"3"'),
    "If-None-Match": (
        "When reading: the ETag one has, for a 304. When posting: `*`, for a deal that must be new.",
        "*",
    ),
    "Idempotency-Key": (
        "Names this request for at least 24 hours, so that sending it again records nothing twice.",
        "7f3c",
    ),
    "Last-Event-ID": ("The position of the last event that was received: what lies behind it follows.", "104"),
    "Accept-Datetime": ("The past instant wanted (RFC 7089), as `recorded_at`.", "Wed, 29 Oct 2025 12:00:00 GMT"),
}

# What every operation may refuse; and what those that take a body may.
OPEN = ("bad_query", "failed")
READING = ("bad_query", "unauthorized", "failed", "database_lost")
WRITING = (
    *READING,
    "not_json",
    "incomplete",
    "forbidden",
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
    "redaction_unavailable",
)


def document(operations: Iterable[Operation], version: str) -> dict[str, Any]:
    """The whole contract."""
    operations = list(operations)
    shapes = [shape for o in operations for shape in (o.answer, o.body) if shape is not None]
    _, schemas = msgspec.json.schema_components([ProblemDocument, *shapes], ref_template=REF)
    paths: dict[str, dict[str, Any]] = {}
    for operation in sorted(operations, key=lambda o: (list(TAGS).index(o.tag), o.path)):
        for method in operation.methods:
            paths.setdefault(operation.path, {})[method.lower()] = _operation(operation, method)
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "Investment registry",
            "version": version,
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": {name: _dedent(schema) for name, schema in sorted(schemas.items())},
            "responses": {code: _problem(code) for code in sorted(PROBLEMS)},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "A key of the registry."}},
        },
    }


def _operation(operation: Operation, method: str) -> dict[str, Any]:
    summary, _, rest = inspect.cleandoc(operation.handler.fn.__doc__ or "").partition("\n")
    head = method == "HEAD"
    said: dict[str, Any] = {
        "operationId": f"{'head_' if head else ''}{operation.handler.fn.__name__}",
        "tags": [operation.tag],
        "summary": summary.strip() + (" (headers only)" if head else ""),
        "parameters": _parameters(operation),
        "responses": _responses(operation, head),
        "security": _security(operation),
    }
    if rest.strip():
        said["description"] = rest.strip()
    if operation.body is not None:
        schema = _schema(operation.body)
        content: dict[str, Any] = {"schema": schema}
        if operation.examples:
            content["examples"] = {name: {"value": value} for name, value in operation.examples.items()}
        said["requestBody"] = {"required": True, "content": {operation.body_type: content}}
    return said


def _security(operation: Operation) -> list[dict[str, Any]]:
    if operation.open:
        return []
    return [{"key": [operation.scope]}] if operation.scope else [{}, {"key": ["read"]}]


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": PARAMETERS[name],
            "schema": {"type": "string", "minLength": 1},
        }
        for name in re.findall(r"{(\w+)}", operation.path)
    ]
    for name, parameter in operation.query.items():
        clock = name.removeprefix("from.").removeprefix("to.")
        said = {"name": name, "in": "query", "description": PARAMETERS[clock], "schema": parameter.schema}
        found.append({**said, "required": True} if name in operation.needs else said)
    for name in operation.headers:
        text, example = HEADERS[name]
        schema = {"type": "string", "examples": [example]}
        found.append({"name": name, "in": "header", "description": text, "schema": schema})
    return found


def _responses(operation: Operation, head: bool) -> dict[str, Any]:
    media: dict[str, Any] = {}
    if operation.answer is not None:
        media["application/json"] = {"schema": _schema(operation.answer)}
    for name, text in operation.other.items():
        media[name] = {"schema": {"type": "string", "description": text}}
    success: dict[str, Any] = {"description": "The answer."}
    if media and not head:
        success["content"] = media
    responses: dict[str, Any] = {str(status): success for status in operation.statuses}
    if "ETag" in _success_response(operation):
        responses["304"] = {"description": "What you have still holds."}
    if operation.moves:
        responses["308"] = {"description": "It was merged into another record: ask there."}
    codes = OPEN if operation.open else WRITING if operation.body is not None else READING
    for status, told in _by_status((*codes, *operation.refuses)).items():
        if head:
            responses[status] = {"description": ", ".join(PROBLEMS[code].title for code in told) + "."}
        elif len(told) == 1:
            responses[status] = {"$ref": f"#/components/responses/{told[0]}"}
        else:
            responses[status] = _problem(*told)
    return responses


def _success_response(operation: Operation) -> set[str]:
    return {"ETag"} if operation.scope is None and "If-None-Match" in operation.headers else set()


def _by_status(codes: Iterable[str]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for code in dict.fromkeys(codes):
        found.setdefault(str(PROBLEMS[code].status), []).append(code)
    return dict(sorted(found.items()))


def _problem(*codes: str) -> dict[str, Any]:
    """A response that is one of these problems."""
    return {
        "description": "\n\n".join(f"**{code}** – {PROBLEMS[code].title}. {PROBLEMS[code].meaning}" for code in codes),
        "content": {"application/problem+json": {"schema": {"$ref": REF.format(name="ProblemDocument")}}},
    }


def _schema(shape: Any) -> dict[str, Any]:
    schemas, _ = msgspec.json.schema_components([shape], ref_template=REF)
    return dict(schemas[0])


def _dedent(schema: dict[str, Any]) -> dict[str, Any]:
    """Descriptions without the indentation of the source."""
    if "description" in schema:
        return {**schema, "description": inspect.cleandoc(schema["description"])}
    return schema
