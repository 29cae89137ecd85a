"""Canonical bytes of events (RFC 8785): every event encodes to them and decodes from them unchanged."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, get_args
from uuid import UUID

import msgspec
import pytest
import rfc8785
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import inspect as shapes

from registry.events.codec import (
    SALT_BYTES,
    Content,
    Entry,
    canonical,
    content_digest,
    decode_content,
    decode_entry,
    published_on,
    random_bytes,
)
from registry.events.types import AnyEvent, tag_of
from registry.events.values import Axis, Classifications, Code, Localized, Source, Text, decode_hook
from tests.conftest import examples

JCS = Path(__file__).parent.parent / "vectors" / "jcs"

# What is RFC 8785's own, and no event can hold: numbers that are not whole, and keys beyond the Basic Multilingual
# Plane, which UTF-16 sorts before some of those within (§3.2.3). A test below shows that the types have neither.
BEYOND_EVENTS = {"structures", "values", "weird"}


@pytest.mark.parametrize("path", sorted((JCS / "input").glob("*.json")), ids=lambda path: path.stem)
def test_canonical_matches_the_vectors_of_the_authors_of_rfc_8785(path: Path) -> None:
    wanted = bytes.fromhex((JCS / "outhex" / f"{path.stem}.txt").read_text())
    value = json.loads(path.read_text())
    assert rfc8785.dumps(value) == wanted  # the oracle below is one
    assert (canonical(value) == wanted) is (path.stem not in BEYOND_EVENTS)


def parts(shape: Any, seen: set[Any]) -> Iterator[Any]:
    """A type and all that it is made of."""
    if isinstance(shape, shapes.StructType):
        if shape.cls in seen:
            return
        seen.add(shape.cls)
    yield shape
    for name in ("fields", "types"):
        for part in getattr(shape, name, ()):
            yield from parts(getattr(part, "type", part), seen)
    for name in ("type", "item_type"):
        if (part := getattr(shape, name, None)) is not None:
            yield from parts(part, seen)


def test_every_value_of_an_event_has_one_canonical_form() -> None:
    known = (
        shapes.StructType, shapes.UnionType, shapes.Metadata, shapes.StrType, shapes.IntType, shapes.LiteralType,
        shapes.NoneType, shapes.DateType, shapes.DateTimeType, shapes.UUIDType, shapes.VarTupleType,
    )  # fmt: skip
    for shape in (*parts(shapes.type_info(Content), set()), *parts(shapes.type_info(Entry), set())):
        # The keys of the two mappings are language tags and names of axes, which are ASCII.
        if isinstance(shape, shapes.CustomType) and shape.cls in (Localized, Classifications):
            continue
        assert isinstance(shape, known), shape
        if isinstance(shape, shapes.StructType):
            for field in shape.fields:
                assert field.encode_name.isascii()
                assert field.encode_name.isprintable()


# --- the whole grammar of events, from the types themselves -----------------------------------------------------------

AWKWARD = st.sampled_from(["\u2028", "\u2029", "😀", "\ufb33", "\u00e9", "\u0301", '"', "\\", "/", "<", "한", "\ufeff"])


def texts(shape: shapes.StrType) -> st.SearchStrategy[str]:
    pattern, most = shape.pattern or "", min(shape.max_length or 60, 60)
    if "\\S" not in pattern:
        wanted = st.from_regex(pattern.replace("$(?!\\n)", ""), fullmatch=True) if pattern else st.text(max_size=most)
        return wanted.filter(lambda text: len(text) <= (shape.max_length or 10**9))
    lines = "\\s\\S" in pattern  # `Text` may have line breaks, `Line` may not
    char = st.characters(codec="utf-8", exclude_categories=["Cc"]) | AWKWARD
    if lines:
        char |= st.sampled_from("\n\t")
    return st.text(char, min_size=1, max_size=most).filter(lambda text: text.strip() != "" and not text.endswith("\n"))


@cache
def values(cls: type) -> st.SearchStrategy[Any]:
    info = shapes.type_info(cls)
    assert isinstance(info, shapes.StructType)
    optional = {f.name: some(f.type) for f in info.fields if not f.required}
    required = {f.name: some(f.type) for f in info.fields if f.required}
    return st.fixed_dictionaries(required, optional=optional).map(lambda given: cls(**given))


def some(shape: Any) -> st.SearchStrategy[Any]:
    match shape:
        case shapes.Metadata(type=inner):
            return some(inner)
        case shapes.StructType(cls=cls):
            return st.deferred(lambda: values(cls))
        case shapes.UnionType(types=alternatives):
            return st.one_of(*map(some, alternatives))
        case shapes.VarTupleType(item_type=item, min_length=least):
            return st.lists(some(item), min_size=least or 0, max_size=(least or 0) + 2).map(tuple)
        case _:
            return plain(shape)


def plain(shape: Any) -> st.SearchStrategy[Any]:
    match shape:
        case shapes.StrType():
            return texts(shape)
        case shapes.IntType(ge=low, le=high):
            return st.integers(low, high)
        case shapes.LiteralType(values=known):
            return st.sampled_from(known)
        case shapes.DateType():
            return st.dates()
        case shapes.DateTimeType(tz=True):
            return st.datetimes(timezones=st.just(UTC))
        case shapes.UUIDType():
            return st.uuids()
        case shapes.NoneType():
            return st.none()
        case shapes.CustomType(cls=cls) if cls is Localized:
            languages = st.sampled_from(["ko", "en", "ja", "zh-Hant", "de-CH-1996", "sr-Latn-RS", "fr"])
            return st.dictionaries(languages, some(shapes.type_info(Text)), min_size=1, max_size=3).map(Localized)
        case shapes.CustomType(cls=cls) if cls is Classifications:
            codes = st.lists(some(shapes.type_info(Code)), max_size=2).map(tuple)
            return st.dictionaries(st.sampled_from(get_args(Axis)), codes, max_size=3).map(Classifications)
        case _:
            raise AssertionError(f"no strategy for {shape}")


@st.composite
def contents(draw: st.DrawFn) -> Content:
    """Any content. Composed, because as a plain strategy its text would be as long as the grammar."""
    content: Content = draw(values(Content))
    return content


instants = st.datetimes(timezones=st.just(UTC))
hexes = st.binary(min_size=32, max_size=32).map(bytes.hex)

whole_grammar = settings(
    max_examples=examples(50), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@whole_grammar
@given(contents())
def test_canonical_bytes_are_those_of_rfc_8785(content: Content) -> None:
    data = canonical(content)
    assert rfc8785.dumps(json.loads(data)) == data


@whole_grammar
@given(contents())
def test_decoded_content_equals_the_encoded_content(content: Content) -> None:
    data = canonical(content)
    read = decode_content(data, tag_of(content.event), content.event.schema)
    assert read == content
    assert canonical(read) == data


@given(
    st.builds(
        Entry,
        content=hexes,
        effective_on=st.none() | st.dates(),
        id=st.uuids(),
        previous=st.none() | hexes,
        published_on=st.dates(),
        recorded_at=instants,
        recorded_by=st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=40),
        schema=st.integers(1, 2**15 - 1),
        stream=st.from_regex(r"(deal|organization)/[a-z0-9]{1,20}(-[a-z0-9]{1,9})?", fullmatch=True),
        type=st.sampled_from([tag_of(event) for event in get_args(AnyEvent)]),
        version=st.integers(1, 2**31 - 1),
    )
)
def test_entry_is_canonical_and_keeps_microseconds(entry: Entry) -> None:
    data = canonical(entry)
    assert rfc8785.dumps(json.loads(data)) == data
    assert decode_entry(data) == entry


def test_instant_is_encoded_in_utc_without_trailing_zeros() -> None:
    entry = Entry(
        content="00" * 32,
        effective_on=None,
        id=UUID(int=1),
        previous=None,
        published_on=date(2025, 10, 29),
        recorded_at=datetime(2025, 10, 29, 1, 2, 3, 400, tzinfo=UTC),
        recorded_by="k1",
        schema=1,
        stream="deal/d",
        type="deal_registered",
        version=1,
    )
    assert b'"recorded_at":"2025-10-29T01:02:03.000400Z"' in canonical(entry)


def test_equal_content_has_equal_bytes_whatever_its_json_spelling() -> None:
    bare = b'{"event":{"type":"pledge_announced","pledge":"total"}}'
    spelled = (
        b'{ "note" : null, "sources": [], "event": {"by": [], "amount": null, "pledge": "total", '
        b'"type": "\\u0070ledge_announced"} }'
    )
    decoder = msgspec.json.Decoder(Content, dec_hook=decode_hook)
    assert (
        canonical(decoder.decode(bare))
        == canonical(decoder.decode(spelled))
        == bare.replace(b'"type":"pledge_announced","pledge":"total"', b'"pledge":"total","type":"pledge_announced"')
    )


# --- the salted digest ------------------------------------------------------------------------------------------------


@given(st.binary(min_size=SALT_BYTES, max_size=SALT_BYTES), st.binary(max_size=80), st.integers(0, 10**6))
def test_digest_changes_with_any_bit_of_salt_or_content(salt: bytes, content: bytes, bit: int) -> None:
    both = salt + content
    changed = bytearray(both)
    changed[bit // 8 % len(both)] ^= 1 << bit % 8
    assert content_digest(bytes(changed[:SALT_BYTES]), bytes(changed[SALT_BYTES:])) != content_digest(salt, content)


def test_event_is_published_on_the_earliest_date_of_its_sources() -> None:
    recorded_at = datetime(2025, 10, 29, 23, 30, tzinfo=UTC)
    dated = [Source(publisher="a", published_on=date(2025, 10, day)) for day in (28, 27)]
    undated = Source(publisher="b")
    assert published_on((dated[0], undated, dated[1]), recorded_at) == date(2025, 10, 27)
    assert published_on((undated,), recorded_at) == date(2025, 10, 29)
    assert published_on((), recorded_at + timedelta(hours=1)) == date(2025, 10, 30)


def test_threads_never_get_the_same_random_bytes() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            taken = [part for parts in threads.map(_many_random_bytes, range(4)) for part in parts]
    finally:
        sys.setswitchinterval(before)
    assert {len(part) for part in taken} == {16}
    assert len(set(taken)) == len(taken)


def _many_random_bytes(_: int) -> list[bytes]:
    return [random_bytes(16) for _ in range(50_000)]
