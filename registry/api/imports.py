"""Import many announcements: NDJSON in, a result for each line out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, TypeVar
from uuid import UUID

import msgspec
from litestar import Controller, Response, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from litestar.response.base import ASGIResponse
from litestar.response.streaming import ASGIStreamingResponse

from registry.api.openapi import reading, writing
from registry.append.proposal import ProposedImport, parts_of
from registry.append.proposals import Proposals
from registry.append.recorder import Recorder
from registry.append.requests import SubmissionError
from registry.domain.history import AsOf
from registry.errors import FieldError, Invalid, NotFound, NotJson
from registry.events import intake
from registry.events.intake import as_uuid
from registry.events.values import Scheme
from registry.http.bodies import Request, decoder, read_body, require_content_type
from registry.http.compression import UNCOMPRESSED
from registry.http.guards import check_may_read, check_scope, may_read
from registry.http.import_session import ImportSession, NumberedLine, body_lines, decode_line, import_line, line_result
from registry.http.parameters import DryRun, Limit, text
from registry.http.problems import ProblemText, code_of, extension_members, language_of, problem
from registry.http.responses import RawResponse, json_response, raw_headers
from registry.i18n import render
from registry.infra.threads import offload
from registry.queries.imports import ImportQueries
from registry.schemas import encode
from registry.schemas.imports import ImportLookup, LookupRequest, SchemeIdentifiers

NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl")
NO_STORE = {"Cache-Control": "no-store"}
T = TypeVar("T")

Atomic = Annotated[bool, QueryParameter(description="Record all lines or none.")]
Propose = Annotated[
    bool, QueryParameter(description="Add all lines to the review queue as one submission; record nothing.")
]


_lookup_request: msgspec.json.Decoder[LookupRequest] = msgspec.json.Decoder(LookupRequest)


class ImportsController(Controller):
    """Imports."""

    path = "/v1/import"
    tags = ("Log",)

    @writing(
        post,
        "/",
        "not_found",
        body=intake.ImportLine,
        body_type=NDJSON[0],
        status_code=200,
        media_type=NDJSON[0],
        response_description="A result for each line, in their order.",
        opt={UNCOMPRESSED: True},
    )
    async def post_import(
        self,
        request: Request,
        recorder: NamedDependency[Recorder],
        proposals: NamedDependency[Proposals],
        stopping: NamedDependency[asyncio.Event],
        atomic: Atomic = False,
        dry_run: DryRun = False,
        propose: Propose = False,
        submission: Annotated[
            str | None, text("With `propose`: the submission that the lines join, which an earlier answer names.")
        ] = None,
    ) -> Response[str]:
        """Record many announcements, one on each line, each with its `deal` (or `organization`).

        The answer has a line for each line, in their order: `status` is what a post of the announcement would be
        answered with. A refused line does not stop the others. With `atomic=true` all are recorded or none, one problem
        document answers for all, and the body may have 8 MiB; `dry_run=true` is atomic and records nothing.

        With `propose=true` all lines wait for another principal, who decides on them as a whole or on some deals; the
        key needs the scope `propose`, or those to record them. Each line is answered with its `proposal` and their
        `submission`, or with `status` 200 if it is recorded or waits already. A line that does not apply is found at
        the review, or before by `dry_run=true`. A body has 8 MiB at most; a longer import is sent in pieces, each after
        the first with the `submission` of the first.
        """
        content_type = require_content_type(request, *NDJSON)
        if propose and not dry_run:
            return await _propose(request, proposals, content_type, _submission(submission))
        if atomic or dry_run:
            return await _import_atomically(request, recorder, content_type, dry_run=dry_run)
        session = ImportSession(recorder, request.auth, stopping, language_of(request), shows_state=may_read(request))
        return _DuplexStream(session.run(body_lines(request)))

    @writing(post, "/lookup", body=LookupRequest, status_code=200)
    async def post_lookup(
        self, request: Request, import_queries: NamedDependency[ImportQueries]
    ) -> RawResponse[ImportLookup]:
        """Look up which announcements are recorded, and the states of deals by their identifiers. Records nothing."""
        if not request.auth.allows("propose"):
            check_scope(request.auth, "record")
        check_may_read(request)
        asked = intake.decode(_lookup_request, await read_body(request))
        as_of = AsOf(effective_on=asked.effective_on, published_on=asked.published_on)
        found = await import_queries.lookup(asked.ids, asked.scheme, asked.values, as_of)
        return json_response(encode(found), NO_STORE)

    @reading("/identifiers")
    async def get_identifiers(
        self,
        import_queries: NamedDependency[ImportQueries],
        scheme: Annotated[Scheme, QueryParameter(description="The register or list, such as `cim`.")],
        after: Annotated[str | None, text("Where the page begins: `next` of the previous page.")] = None,
        limit: Limit = 1000,
    ) -> RawResponse[SchemeIdentifiers]:
        """All identifiers of a scheme, each with its deal."""
        return json_response(encode(await import_queries.identifiers(scheme, after or "", limit)))


class _DuplexStream(Response[str]):
    """A streamed response that is sent while the request's body is still read.

    Litestar's `Stream` reads the body itself to notice a disconnect.
    """

    def __init__(self, chunks: Any) -> None:
        super().__init__("", media_type=NDJSON[0], headers=NO_STORE)
        self._chunks = chunks

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIResponse:
        return _DuplexASGIResponse(iterator=self._chunks, media_type=NDJSON[0], status_code=200, headers=NO_STORE)


class _DuplexASGIResponse(ASGIStreamingResponse):
    async def send_body(self, send: Any, receive: Any) -> None:
        await self._stream(send)


async def _import_atomically(
    request: Request, recorder: Recorder, content_type: str, *, dry_run: bool
) -> Response[Any]:
    """Record all lines in one transaction, or answer with the number of the line that is refused."""
    body = await read_body(request, content_type)
    decode = partial(decode_line, key=request.auth, low_priority=not dry_run, shows_state=may_read(request))
    lines, requests = await decoder.decode(partial(_decoded, decode), body)
    try:
        results = await recorder.record_all(requests, dry_run=dry_run)
    except SubmissionError as refused:
        line = lines[refused.number]
        language = language_of(request)
        detail = render(ProblemText("import_line", line=line.number, problem=refused.error.message), language)
        members = {**extension_members(refused.error, language), "line": line.number}
        return problem(request, code_of(refused.error), detail, **members)
    body_text = await offload(
        len(lines),
        lambda: b"".join(
            encode(line_result(line.number, append_request, result)) + b"\n"
            for line, append_request, result in zip(lines, requests, results, strict=True)
        ),
    )
    return RawResponse(body_text, 200, raw_headers(NO_STORE), NDJSON[0].encode())


def _submission(given: str | None) -> UUID | None:
    if given is None:
        return None
    found = as_uuid(given)
    if found is None:
        raise NotFound("proposal", proposal=given[:80])
    return found


async def _propose(request: Request, proposals: Proposals, content_type: str, submission: UUID | None) -> Response[Any]:
    """Add all lines to the review queue, as a new submission or to an earlier one."""
    body = await read_body(request, content_type)
    numbered, lines = await decoder.decode(partial(_decoded, import_line), body)
    parts = await offload(len(lines), parts_of, lines)
    found = await proposals.propose_import(request.auth, parts, submission)
    body_text = await offload(len(lines), _proposed, numbered, lines, found)
    return RawResponse(body_text, 200, raw_headers(NO_STORE), NDJSON[0].encode())


def _proposed(numbered: list[NumberedLine], lines: list[Any], found: ProposedImport) -> bytes:
    """The results of lines that were proposed."""
    by_stream, new = found.by_stream(), {one.id for one in found.proposals}
    results = []
    for line, (kind, slug, announcement) in zip(numbered, lines, strict=True):
        result: dict[str, Any] = {"line": line.number, "status": 200, kind: slug, "id": announcement.id}
        if announcement.id not in found.recorded:
            proposal = by_stream[kind, slug]
            result["status"] = 201 if proposal.id in new else 200
            result |= {"proposal": proposal.id, "submission": proposal.submission}
        results.append(encode(result) + b"\n")
    return b"".join(results)


def _numbered(body: bytes) -> list[NumberedLine]:
    return [NumberedLine(n, text) for n, line in enumerate(body.split(b"\n"), 1) if (text := line.strip())]


def _decoded(decode: Callable[[NumberedLine], T], body: bytes) -> tuple[list[NumberedLine], list[T]]:
    """Decode the lines of a body, which are recorded or proposed together.

    Raises:
        NotJson: A line is not JSON.
        Invalid: Lines have wrong fields, or there is none.
    """
    lines = _numbered(body)
    decoded: list[T] = []
    field_errors: list[FieldError] = []
    for line in lines:
        try:
            decoded.append(decode(line))
        except Invalid as error:
            field_errors += [wrong.at(f"/{line.number - 1}{wrong.pointer}") for wrong in error.field_errors]
        except NotJson as error:
            raise NotJson(error.field_error, line.number) from None
    if not lines:
        field_errors = [FieldError("", "no_line")]
    if field_errors:
        raise Invalid(field_errors)
    return lines, decoded
