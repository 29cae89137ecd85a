"""Invalid bodies are refused with a problem document that names the field, and record nothing (property 24)."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.api.announcements import SOURCE, announced, pledged, registered
from tests.conftest import drill
from tests.service import Service

VALID_BODY = json.dumps(pledged()).encode()


def having(old: bytes | str, new: bytes | str) -> bytes:
    """Return a valid body with one part replaced."""
    old, new = (text.encode() if isinstance(text, str) else text for text in (old, new))
    assert VALID_BODY.count(old) >= 1, old
    return VALID_BODY.replace(old, new, 1)


def event(**fields: Any) -> bytes:
    """Return a body with another event."""
    return json.dumps({"effective_on": "2025-06-16", "event": fields}).encode()


AMOUNT = "/event/amount"
# Every case: the body, the status, and the field that the problem must name.
CASES: dict[str, tuple[bytes, int, str]] = {
    # shape
    "an unknown field": (having('"pledge":', '"plegde":"a","pledge":'), 422, "/event/plegde"),
    "an unknown field of the announcement": (having('{"effective_on"', '{"version":1,"effective_on"'), 422, "/version"),
    "a wrong type": (having('"value": "5000000000"', '"value": ["5"]'), 422, f"{AMOUNT}/value"),
    "a number for a string": (having('"value": "5000000000"', '"value": 5000000000'), 422, f"{AMOUNT}/value"),
    "a string for a number": (event(type="site_announced", site="a", gpus="5"), 422, "/event/gpus"),
    "1 for true": (event(type="site_announced", site="a", gpus=True), 422, "/event/gpus"),
    "a float for a count": (event(type="site_announced", site="a", gpus=5.5), 422, "/event/gpus"),
    "an unknown event type": (event(type="pledge_anounced", pledge="a"), 422, "/event/type"),
    "no event type": (event(pledge="a"), 422, "/event/type"),
    "no event": (b'{"effective_on":"2025-06-16"}', 422, "/event"),
    "an event type of organizations": (event(type="organization_registered", name={"en": "A"}), 422, "/event/type"),
    "no name of the pledge": (event(type="pledge_announced"), 422, "/event/pledge"),
    "no day": (having('"effective_on": "2025-06-16", ', ""), 422, "/effective_on"),
    "null": (b"null", 422, ""),
    "a string": (b'"x"', 422, ""),
    "an empty list": (b"[]", 422, ""),
    "an empty object": (b"{}", 422, "/event"),
    # JSON
    "nothing": (b"", 400, ""),
    "cut off": (VALID_BODY[:-5], 400, "/event/amount/currency"),
    "something behind": (VALID_BODY + b" x", 400, ""),
    "a duplicate key": (having('"value":', '"value": "7", "value":'), 422, f"{AMOUNT}/value"),
    "a duplicate key of the announcement": (having('"event":', '"event": null, "event":'), 422, "/event"),
    "a duplicate key with escapes": (having('"value":', '"v\\u0061lue": "7", "value":'), 422, f"{AMOUNT}/value"),
    "NaN": (having('"5000000000"', "NaN"), 400, f"{AMOUNT}/value"),
    "Infinity": (having('"5000000000"', "-Infinity"), 400, f"{AMOUNT}/value"),
    "single quotes": (having('"USD"', "'USD'"), 400, f"{AMOUNT}/currency"),
    "bad UTF-8": (having(b'"total"', b'"\xff\xfe"'), 400, "/event/pledge"),
    "UTF-16": (VALID_BODY.decode().encode("utf-16"), 400, ""),
    "a byte order mark": (b"\xef\xbb\xbf" + VALID_BODY, 400, ""),
    "half a surrogate pair": (having('"total"', '"\\ud800"'), 400, "/event/pledge"),
    "100,000 lists": (having('"total"', "[" * 100_000 + "]" * 100_000), 400, "/event/pledge"),
    "100,000 lists alone": (b"[" * 100_000, 400, "/0/0"),
    "100,000 objects": (b'{"event":' * 100_000 + b"1" + b"}" * 100_000, 400, "/event/event/event/event"),
    # numbers
    "1E+400": (having('"5000000000"', '"1E+400"'), 422, f"{AMOUNT}/value"),
    "1E+400 as a number": (having('"5000000000"', "1E+400"), 422, f"{AMOUNT}/value"),
    "a negative amount": (having('"5000000000"', '"-5"'), 422, f"{AMOUNT}/value"),
    "a comma": (having('"5000000000"', '"5,000"'), 422, f"{AMOUNT}/value"),
    "too many digits": (having('"5000000000"', f'"{"9" * 19}"'), 422, f"{AMOUNT}/value"),
    "5,000 digits": (having('"5000000000"', "9" * 5000), 422, f"{AMOUNT}/value"),
    "digits of another script": (having('"5000000000"', '"５"'), 422, f"{AMOUNT}/value"),
    "no value and no words": (having('"value": "5000000000", ', ""), 422, f"{AMOUNT}/value"),
    "a range upside down": (having('"value": "5000000000"', '"low": "7", "high": "5"'), 422, f"{AMOUNT}/high"),
    "a count beyond all counts": (event(type="site_announced", site="a", gpus=10**30), 422, "/event/gpus"),
    "a claimed count beyond all counts": (
        event(type="claim_reported", claim="a", field="/sites/a/gpus", value=2**64),
        422,
        "/event/value",
    ),
    "a latitude beyond the pole": (event(type="site_announced", site="a", latitude="91"), 422, "/event/latitude"),
    # text
    "a currency that does not exist": (having('"USD"', '"XXA"'), 422, f"{AMOUNT}/currency"),
    "a newline behind a currency": (having('"USD"', '"USD\\n"'), 422, f"{AMOUNT}/currency"),
    "a newline behind a name": (having('"total"', '"total\\n"'), 422, "/event/pledge"),
    "a newline behind an amount": (having('"5000000000"', '"5\\n"'), 422, f"{AMOUNT}/value"),
    "NUL in a name": (having('"total"', '"to\\u0000tal"'), 422, "/event/pledge"),
    "NUL in a text": (having('"effective_on"', '"note": "a\\u0000", "effective_on"'), 422, "/note"),
    "NUL in a title": (event(type="deal_revised", title={"en": "\x00"}), 422, "/event/title/en"),
    "an empty text": (event(type="deal_revised", title={"en": " "}), 422, "/event/title/en"),
    "too long a text": (having('"effective_on"', f'"note": "{"x" * 4001}", "effective_on"'), 422, "/note"),
    "a capital in a name": (having('"total"', '"Total"'), 422, "/event/pledge"),
    "too long a list": (
        event(type="pledge_announced", pledge="a", by=[f"firm-{n}" for n in range(201)]),
        422,
        "/event/by",
    ),
    # sources
    "a script as a source": (having(SOURCE["url"], "javascript:alert(1)"), 422, "/sources/0/url"),
    "a file as a source": (having(SOURCE["url"], "file:///etc/passwd"), 422, "/sources/0/url"),
    "a URL with markup": (having(SOURCE["url"], "https://news.example/<script>"), 422, "/sources/0/url"),
    "a source whose host is none": (having(SOURCE["url"], "https://["), 422, "/sources/0/url"),
    "a source without a host": (having(SOURCE["url"], "https:///plant"), 422, "/sources/0/url"),
    "a source with a port that is none": (having(SOURCE["url"], "https://a:99999/"), 422, "/sources/0/url"),
    "a source with a user": (having(SOURCE["url"], "https://me@a.example/"), 422, "/sources/0/url"),
    "a source with a password": (having(SOURCE["url"], "https://me:secret@a.example/"), 422, "/sources/0/url"),
    "a source without any field": (
        json.dumps({**pledged(), "sources": [SOURCE, {"language": "en"}]}).encode(),
        422,
        "/sources/1",
    ),
    # dates
    "a date of year 0": (having('"2025-06-16", "sources"', '"0000-01-01", "sources"'), 422, "/effective_on"),
    "a day that there is not": (having('"2025-06-16", "sources"', '"2025-02-30", "sources"'), 422, "/effective_on"),
    "a month for a day": (having('"2025-06-16", "sources"', '"2025-06", "sources"'), 422, "/effective_on"),
    "an instant for a day": (
        having('"2025-06-16", "sources"', '"2025-06-16T00:00:00Z", "sources"'),
        422,
        "/effective_on",
    ),
    "the last day there is": (having('"2025-06-16", "sources"', '"9999-12-31", "sources"'), 422, "/effective_on"),
    "a source of year 1": (
        having('"published_on": "2025-06-16"', '"published_on": "0001-01-01"'),
        422,
        "/sources/0/published_on",
    ),
    "a loose date of year 0": (event(type="milestone_scheduled", milestone="a", planned="0000"), 422, "/event/planned"),
    "month 13": (event(type="milestone_scheduled", milestone="a", planned="2025-13"), 422, "/event/planned"),
    "no date": (event(type="milestone_scheduled", milestone="a", planned="soon"), 422, "/event/planned"),
    "an interval that ends before it begins": (
        event(type="milestone_scheduled", milestone="a", planned="2025-09/2025-07"),
        422,
        "/event/planned",
    ),
    "a horizon that ends before it begins": (
        event(type="pledge_announced", pledge="a", horizon={"from": "2030", "until": "2025"}),
        422,
        "/event/horizon/until",
    ),
    "a claimed date that is none": (
        event(type="claim_reported", claim="a", field="/milestones/a/planned", value="2025-13"),
        422,
        "/event/value",
    ),
    # what a type cannot say
    "a place that does not exist": (event(type="site_announced", site="a", place="KR-99"), 422, "/event/place"),
    "an id that is none": (having('{"effective_on"', '{"id": "7", "effective_on"'), 422, "/id"),
    "a field that no deal has": (
        event(type="claim_reported", claim="a", field="/title", value="b"),
        422,
        "/event/field",
    ),
    "on top of nothing": (event(type="pledge_announced", pledge="a", additional_to="a b"), 422, "/event/additional_to"),
    "a correction of nothing": (
        event(type="event_corrected", corrects="00000000-0000-7000-8000-000000000000", replacement={}),
        422,
        "/event/replacement",
    ),
    "a correction with a wrong amount": (
        event(
            type="event_corrected",
            corrects="00000000-0000-7000-8000-000000000000",
            replacement={"event": {"type": "pledge_announced", "pledge": "a", "amount": {"currency": "USD"}}},
        ),
        422,
        "/event/replacement/event/amount/value",
    ),
    # lists
    "the second of a list": (b"[" + VALID_BODY + b"," + having('"5000000000"', "5") + b"]", 422, f"/1{AMOUNT}/value"),
    "a value of the second of a list": (
        b"[" + VALID_BODY + b"," + having('"USD"', '"USD", "high": "9"') + b"]",
        422,
        f"/1{AMOUNT}/high",
    ),
    "a duplicate key in the second": (
        b"[" + VALID_BODY + b"," + having('"USD"', '"USD", "currency": "KRW"') + b"]",
        422,
        f"/1{AMOUNT}/currency",
    ),
    "something else in a list": (b"[" + VALID_BODY + b", 5]", 422, "/1"),
    "two equal ids": (
        json.dumps([{**pledged(pledge=name), "id": "01890a5d-ac96-774b-bcce-b302099a8057"} for name in "ab"]).encode(),
        422,
        "/1/id",
    ),
}


@pytest.mark.parametrize("case", CASES)
async def test_invalid_body_is_refused_with_the_pointer_of_the_field(service: Service, slug: str, case: str) -> None:
    body, status, pointer = CASES[case]
    url = f"/v1/deals/{slug}/events"
    await service.client.post(url, json=registered())
    size = await service.size()
    answer = await service.client.post(url, content=body, headers={"Content-Type": "application/json"})
    problem = answer.json()
    assert answer.status_code == status, problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["errors"][0]["pointer"] == pointer, problem
    assert problem["errors"][0]["detail"]
    assert {"type", "title", "status", "detail", "code", "request_id"} <= problem.keys()
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert await service.size() == size
    assert (await service.client.post(url, json=pledged())).status_code == 201


# Values that have broken services before, wherever they may stand.
UNEXPECTED_VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    10**30,
    1.5,
    "",
    " ",
    "x" * 5000,
    "\x00",
    "\ud7ff\ue000\U0010ffff",
    "\u202e\u2028\ufeff",
    "가" * 300,
    "0000-00-00",
    "9999-12-31",
    "0001-01-01",
    "9999",
    "../..",
    "https://[",
    "https://a.example/" + "가" * 1900,
    "https://℀.example/",
    "'; DROP TABLE events; --",
    "%s{0}$1",
    [],
    [[]],
    {},
    {"type": "deal_registered"},
    {"": ""},
]

RICH = [
    {"sources": [SOURCE], **registered(summary={"ko": "요약"}, kind="investment", sectors=["chips"]), "note": "why"},
    announced(
        "2025-06-16",
        "pledge_announced",
        pledge="total",
        amount={
            "value": "5",
            "currency": "USD",
            "qualifier": "about",
            "stated_as": [{"value": "7", "currency": "KRW", "qualifier": "exact"}],
        },
        amount_basis="additional",
        additional_to="other/total",
        commitment="pledge",
        by=["firm"],
        horizon={"from": "2025", "until": "2031"},
        purpose={"en": "a hall"},
    ),
    announced(
        "2025-06-16",
        "site_announced",
        site="north",
        name={"en": "North"},
        place="KR-31",
        latitude="35.5",
        longitude="129.3",
        precision="district",
        power_mw="103",
        gpus=60000,
    ),
    announced("2025-06-16", "milestone_scheduled", milestone="power", kind="power_on", site="north", planned="2027-11"),
    announced("2025-06-16", "claim_reported", claim="herald", field="/milestones/power/planned", value="2028"),
    announced("2025-06-18", "deals_related", relation="overlaps", deal="another", pledge="total", other_pledge="total"),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path to every nested value."""
    yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from places(part, (*path, key))


def with_value(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Return the value with the one at a path replaced."""
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = with_value(value[path[0]], path[1:], new)
    return copy


async def test_rich_history_is_recorded(client: httpx.AsyncClient, slug: str) -> None:
    assert (await client.post(f"/v1/deals/{slug}/events", json=RICH)).status_code == 201


# How many values each place gets: all of them take minutes.
ROUNDS = int(os.environ.get("UNEXPECTED_ROUNDS", "3"))


@pytest.mark.parametrize("turn", [0, *map(drill, range(1, ROUNDS))])
async def test_unexpected_value_in_any_place_does_not_break_the_service(
    service: Service, new_slug: Callable[[], str], turn: int
) -> None:
    """Each place of a rich history in turn: the body is recorded whole and shown, or refused with nothing recorded."""
    for n, path in enumerate(places(RICH)):
        slug, size = new_slug(), await service.size()
        body = json.dumps(with_value(RICH, path, UNEXPECTED_VALUES[(n + turn * 5) % len(UNEXPECTED_VALUES)])).encode()
        answer = await service.client.post(
            f"/v1/deals/{slug}/events", content=body, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code in (201, 409, 422), (path, answer.text)
        recorded = len(answer.json()["events"]) if answer.status_code == 201 else 0
        assert await service.size() == size + recorded, path
        if recorded:
            assert (await service.client.get(f"/v1/deals/{slug}/blame")).status_code in (200, 404), path
    for url in ("/v1/totals?group_by=sector", "/v1/totals?currency=EUR&explain=true", "/v1/compare?from.position=0"):
        assert (await service.client.get(url)).status_code == 200, url


async def test_every_wrong_field_is_named(client: httpx.AsyncClient, slug: str) -> None:
    body = [
        announced("2025-06-16", "site_announced", site="a", place="KR-99", latitude="91"),
        announced("2025-06-16", "milestone_scheduled", milestone="a", planned="2025-13"),
    ]
    problem = (await client.post(f"/v1/deals/{slug}/events", json=body)).json()
    assert [e["pointer"] for e in problem["errors"]] == ["/0/event/place", "/0/event/latitude", "/1/event/planned"]


async def test_misspelled_field_is_refused_with_the_nearest_name(client: httpx.AsyncClient, slug: str) -> None:
    async def error(body: bytes) -> dict[str, Any]:
        answer = await client.post(
            f"/v1/deals/{slug}/events", content=body, headers={"Content-Type": "application/json"}
        )
        return dict(answer.json()["errors"][0])

    misspelled = await error(event(type="pledge_anounced", pledge="a"))
    assert misspelled["params"] == {"value": "pledge_anounced", "similar": "pledge_announced"}
    assert "'pledge_announced'" in misspelled["detail"]
    field = await error(event(type="pledge_announced", pledge="a", amout={}))
    assert field["params"] == {"value": "amout", "similar": "amount"}
    misplaced = await error(event(type="stage_changed", stage="signed", published_on="2025-01-01"))
    assert misplaced["code"] == "unknown_field"
    choice = await error(event(type="pledge_announced", pledge="a", commitment="x"))
    assert choice["params"] == {"value": "x", "known": ["intention", "pledge", "binding", "budget"]}
    assert (await error(having('"5000000000"', '"-5"')))["code"] == "format_decimal"


async def test_problem_detail_is_in_the_language_of_accept_language(client: httpx.AsyncClient, slug: str) -> None:
    headers = {"Accept-Language": "ko-KR,ko;q=0.9,en;q=0.5"}
    answer = await client.post(f"/v1/deals/{slug}/events", json=[], headers=headers)
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["errors"][0]["code"]) == (422, "invalid", "no_announcement")
    assert problem["errors"][0]["detail"] == "목록이 비어 있습니다. 발표를 하나 이상 입력하세요"
    assert problem["errors"][0]["detail"] in problem["detail"]
    assert "Accept-Language" in answer.headers["vary"]


@pytest.mark.parametrize(
    ("body", "code"), [(b"", "json_empty"), (b" ", "json_empty"), (b'{"event": ', "json_truncated")]
)
async def test_body_that_ends_too_early_is_said_to(
    client: httpx.AsyncClient, slug: str, body: bytes, code: str
) -> None:
    answer = await client.post(
        f"/v1/deals/{slug}/events",
        content=body,
        headers={"Content-Type": "application/json", "Accept-Language": "ko"},
    )
    assert answer.status_code == 400
    (error,) = answer.json()["errors"]
    assert error["code"] == code
    assert not re.search(r"[a-z]{3}|-1", error["detail"])


async def test_deal_that_was_not_known_names_an_instant_from_which_it_can_be_requested(
    client: httpx.AsyncClient, slug: str
) -> None:
    await client.post(f"/v1/deals/{slug}/events", json=registered())
    address = f"/v1/deals/{slug}"
    refused = (await client.get(address, params={"recorded_at": "2001-01-01T00:00:00Z"})).json()
    named = re.search(r"recorded before (\S+),", refused["detail"])
    assert named is not None
    assert (await client.get(f"{address}?recorded_at={named[1]}")).status_code == 200
