"""What the service refused."""

from __future__ import annotations

import httpx
import msgspec
from msgspec import Struct

MAX_ERROR_BYTES = 64 * 2**10
"""Bytes of an error that are read: a problem document is smaller, and another answer may have no end."""


class WrongField(Struct, frozen=True):
    """A field of a body that is wrong: where it is (RFC 6901), and what is wrong."""

    pointer: str
    detail: str
    code: str | None = None


class Problem(Struct, frozen=True):
    """A problem document (RFC 9457), without the members that a client does not need."""

    detail: str
    code: str | None = None
    request_id: str | None = None
    errors: tuple[WrongField, ...] = ()
    line: int | None = None


class ApiError(Exception):
    """The service answered with an error. `problem.code` names it; `content` is the body of the answer."""

    def __init__(self, status: int, problem: Problem, content: bytes) -> None:
        fields = "".join(f"\n  {error.pointer or '/'}: {error.detail}" for error in problem.errors)
        super().__init__(f"{status} {problem.detail}{fields}")
        self.status = status
        self.problem = problem
        self.content = content

    @classmethod
    def read(cls, response: httpx.Response) -> ApiError:
        """Read the error of a response, up to `MAX_ERROR_BYTES`."""
        content = b""
        for chunk in response.iter_bytes():
            content += chunk
            if len(content) > MAX_ERROR_BYTES:
                break
        return cls._of(response, content[:MAX_ERROR_BYTES])

    @classmethod
    async def aread(cls, response: httpx.Response) -> ApiError:
        """Read the error of a response, up to `MAX_ERROR_BYTES`."""
        content = b""
        async for chunk in response.aiter_bytes():
            content += chunk
            if len(content) > MAX_ERROR_BYTES:
                break
        return cls._of(response, content[:MAX_ERROR_BYTES])

    @classmethod
    def _of(cls, response: httpx.Response, content: bytes) -> ApiError:
        """A response that is no problem document has its text as detail."""
        try:
            problem = msgspec.json.decode(content, type=Problem)
        except msgspec.DecodeError:
            problem = Problem(detail=content.decode(errors="replace") or response.reason_phrase)
        return cls(response.status_code, problem, content)
