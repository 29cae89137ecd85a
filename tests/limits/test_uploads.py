"""Uploads through the page: slow, unfinished, too large, or of a session that ends meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import psutil
import pytest
import pytest_asyncio

from registry.http import bodies
from registry.web.imports import upload
from registry.web.imports.jobs import MAX_JOBS_OF_PRINCIPAL, MAX_UPLOAD_BYTES
from tests.api.announcements import registered
from tests.conftest import PATIENCE
from tests.limits.conftest import RawConnection, connected
from tests.service import Service
from tests.web.test_import_pages import token
from tests.web.test_import_pages import upload as upload_sheet
from tests.web.test_sessions import visit

UNFINISHED = 40
END = b"\r\n--boundary--\r\n"


@pytest_asyncio.fixture
async def editor(limited: Service) -> AsyncIterator[httpx.AsyncClient]:
    """A signed-in editor, with a key of the test's own."""
    async with visit(limited, await limited.issue("record")) as editor:
        yield editor


async def begin(editor: httpx.AsyncClient, connection: RawConnection, content: bytes, length: int | None = None) -> str:
    """Send the beginning of a form with a sheet of `length` bytes; return the form's token."""
    csrf = token((await editor.get("/import")).text)
    parts = (
        f'--boundary\r\nContent-Disposition: form-data; name="csrf"\r\n\r\n{csrf}\r\n--boundary\r\n'
        'Content-Disposition: form-data; name="file"; filename="sheet.csv"\r\n\r\n'
    ).encode()
    cookies = "; ".join(f"{name}={value}" for name, value in editor.cookies.items())
    size = len(parts) + (len(content) if length is None else length) + len(END)
    head = (
        f"POST /import HTTP/1.1\r\nHost: localhost\r\nCookie: {cookies}\r\nContent-Length: {size}\r\n"
        "Content-Type: multipart/form-data; boundary=boundary\r\nConnection: close\r\n\r\n"
    )
    await connection.send(head.encode(), parts, content)
    return csrf


async def imports(editor: httpx.AsyncClient) -> int:
    return (await editor.get("/import")).text.count('href="/import/')


async def until_none_is_left(editor: httpx.AsyncClient) -> None:
    async with asyncio.timeout(PATIENCE):
        while await imports(editor):  # noqa: ASYNC110 - the service tells no client
            await asyncio.sleep(0.05)


async def test_unfinished_uploads_are_bounded_and_leave_nothing(limited: Service, editor: httpx.AsyncClient) -> None:
    memory = psutil.Process().memory_info().rss
    async with AsyncExitStack() as stack:
        refused = []
        for _ in range(UNFINISHED):
            one = await stack.enter_async_context(connected(limited))
            # The answers are read all the time: they are lost when the service ends a connection.
            refused.append(asyncio.create_task(one.status()))
            await begin(editor, one, b"a,b\n" * 2**18, MAX_UPLOAD_BYTES)
        recorded = await limited.client.post("/v1/deals/while-uploading/events", json=registered())
        assert recorded.status_code == 201
        async with asyncio.timeout(PATIENCE):
            while sum(one.done() for one in refused) < UNFINISHED - MAX_JOBS_OF_PRINCIPAL:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert {one.result() for one in refused if one.done()} == {422}
        for waiting in refused:
            waiting.cancel()
        assert psutil.Process().memory_info().rss - memory < UNFINISHED * bodies.BODY_LIMIT
    await until_none_is_left(editor)


@pytest.mark.parametrize("limit", ["BODY_SECONDS", "UPLOAD_SECONDS"])
async def test_slow_upload_ends_and_leaves_nothing(
    limited: Service, editor: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(bodies if limit == "BODY_SECONDS" else upload, limit, 0.5)

    async def drip(slow: RawConnection) -> None:
        while True:
            await slow.send(b"x")
            await asyncio.sleep(0.1)

    async with connected(limited) as slow:
        await begin(editor, slow, b"a,b\n", 1000)
        dripping = asyncio.create_task(drip(slow)) if limit == "UPLOAD_SECONDS" else None
        assert await slow.status() == 408
        if dripping is not None:
            dripping.cancel()
    await until_none_is_left(editor)


async def test_upload_that_ends_after_the_sign_out_records_nothing(limited: Service, editor: httpx.AsyncClient) -> None:
    size = await limited.size()
    async with connected(limited) as slow:
        csrf = await begin(editor, slow, b"a,b\n1,2\n")
        assert (await editor.post("/sign-out", data={"csrf": csrf})).status_code == 303
        await slow.send(END)
        assert await slow.status() == 303
    assert await limited.size() == size
    assert (await editor.get("/import")).status_code == 303


async def test_files_for_an_import_that_it_does_not_use_are_not_kept(
    limited: Service, editor: httpx.AsyncClient
) -> None:
    path = await upload_sheet(editor, "sheet.csv", b"a,b\n1,2\n")
    form = {"csrf": token((await editor.get(path)).text)}
    kept = files(limited)
    unused = {"another": ("mapping.toml", b"x" * 10_000)}
    assert (await editor.post(f"{path}/files", data=form, files=unused)).status_code == 303
    forged = {**form, "csrf": "x"}
    assert (await editor.post(f"{path}/files", data=forged, files=unused)).status_code == 403
    too_many = [("mapping", (f"{n}.toml", b"x" * 10_000)) for n in range(3)]
    assert (await editor.post(f"{path}/files", data=form, files=too_many)).status_code == 400
    assert files(limited) == kept
    assert (await editor.post(f"{path}/delete", data=form)).status_code == 303


def files(service: Service) -> set[Path]:
    """The files of all imports."""
    return set((service.settings.data_dir / "imports").rglob("*"))
