"""What the service refused."""

from __future__ import annotations

import httpx
import msgspec
from msgspec import Struct


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
    def of(cls, response: httpx.Response) -> ApiError:
        """The error of a response that was read. A response that is no problem document has its text as detail."""
        try:
            problem = msgspec.json.decode(response.content, type=Problem)
        except msgspec.DecodeError:
            problem = Problem(detail=response.text or response.reason_phrase)
        return cls(response.status_code, problem, response.content)
