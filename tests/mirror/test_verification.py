"""What a mirror verifies of a page of the origin's log before it stores it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec import convert
from msgspec.structs import replace

from registry.mirror.contradiction import Contradiction
from registry.mirror.verification import verify_contents
from registry.schemas import LogEntry
from tests.api.announcements import registered
from tests.service import Service
from tests.transparency.conftest import post


async def test_event_that_was_recorded_before_its_predecessor_is_a_contradiction(
    service: Service, new_slug: Callable[[], str]
) -> None:
    size = await service.size()
    for _ in range(2):
        await post(service, new_slug(), registered())
    page = (await service.client.get("/v1/log/entries", params={"after": size})).json()
    first, second = convert(page["entries"], list[LogEntry])
    [*_, last] = verify_contents([first, second], {}, None)
    swapped = [replace(second, position=first.position), replace(first, position=second.position)]
    with pytest.raises(Contradiction) as found:
        verify_contents(swapped, {}, None)
    assert (found.value.kind, found.value.position) == ("order", second.position)
    with pytest.raises(Contradiction) as found:
        verify_contents([first], {}, last.recorded.recorded_at)
    assert found.value.position == first.position
