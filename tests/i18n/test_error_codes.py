"""Errors and field errors: every code that the source names has a text in each language, with its parameters."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from registry import cli, errors
from registry.app import create_app
from registry.append.requests import SubmissionError
from registry.events import intake
from registry.i18n import LANGUAGES, Message, render
from registry.maintenance import backup
from registry.mirror.contradiction import Contradiction
from registry.transparency.findings import Finding
from registry.transparency.witness import OtherSizeCosigned
from tests.i18n.codes import calls_of, catalogue_texts, literals, parameters_of

IMPORTED = (create_app, backup, cli)


def subclasses(of: type[errors.RegistryError]) -> Iterator[type[errors.RegistryError]]:
    for cls in of.__subclasses__():
        yield cls
        yield from subclasses(cls)


ERRORS = {cls.__name__: cls for cls in subclasses(errors.RegistryError)}
# These build their message themselves; `BUILT` has one of each of their texts.
OWN_MESSAGE = {name for name, cls in ERRORS.items() if "__init__" in vars(cls)}
# Parameters that a class adds to those of the call.
ADDED = {"InvalidParameter": {"parameter"}}


def calls() -> Iterator[tuple[str, str, str, set[str], bool]]:
    """Where, context, code and parameters of each call, and whether it passes `**` as well."""
    for where, name, node in calls_of("FieldError", "ErrorMessage", *ERRORS):
        given = {k.arg for k in node.keywords if k.arg is not None} | ADDED.get(name, set())
        spread = any(k.arg is None for k in node.keywords)
        for context, code in codes(name, node.args):
            yield where, context, code, given, spread


def codes(name: str, args: list[ast.expr]) -> Iterator[tuple[str, str]]:
    """The codes that a call of this name can have."""
    first = list(literals(args[0])) if args else [""]
    if name == "FieldError" and len(args) == 2:
        yield from (("field", code) for code in literals(args[1]))
    elif name == "ErrorMessage":
        yield from (("error", code) for code in first)
    elif name in ERRORS and name not in OWN_MESSAGE:
        code = ERRORS[name].code
        yield from (("error", f"{code}/{case}" if case else code) for case in first)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_form_of_a_parameter_has_a_text(language: str) -> None:
    """The title of a parameter with a pattern is the code of the error of another value."""
    forms = {
        str(keyword.value.value)
        for _, _, node in calls_of("QueryParameter", "PathParameter")
        for keyword in node.keywords
        if keyword.arg == "title" and isinstance(keyword.value, ast.Constant)
    }
    assert len(forms) > 8
    texts = catalogue_texts(language, "error")
    assert {
        form for form in forms if parameters_of(texts.get(f"bad_query/{form}", "")) - {"known"} != {"parameter"}
    } == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_code_has_a_text_with_parameters_that_are_passed(language: str) -> None:
    found = list(calls())
    assert len(found) > 150
    known = {context: catalogue_texts(language, context) for context in ("error", "field")}
    assert [(where, code) for where, context, code, _, _ in found if code not in known[context]] == []
    assert [
        (where, code)
        for where, context, code, given, spread in found
        if not spread and not parameters_of(known[context][code]) <= given
    ] == []


@pytest.mark.parametrize("context", ["error", "field"])
def test_languages_have_the_same_codes_and_parameters(context: str) -> None:
    english = catalogue_texts("en", context)
    for language in LANGUAGES:
        other = catalogue_texts(language, context)
        assert other.keys() == english.keys()
        assert {c: parameters_of(t) for c, t in other.items()} == {c: parameters_of(t) for c, t in english.items()}


FIELDS = [errors.FieldError("/event/site", "required"), errors.FieldError("/id", "required")]
BUILT: list[errors.RegistryError] = [
    errors.Invalid(FIELDS[:1]),
    errors.Invalid(FIELDS),
    errors.InvalidPath(errors.InvalidParameter("source_id", parameter="source")),
    errors.NotJson(errors.FieldError("", "json_not_utf8", byte=3)),
    errors.NotJson(errors.FieldError("", "json_nesting"), line=4),
    errors.VersionConflict("deal", "ulsan", 3, 2),
    errors.VersionConflict("deal", "ulsan", 3, 0),
    errors.VersionConflict("deal", "ulsan", 0, 2),
    SubmissionError(2, errors.Overloaded()),
    OtherSizeCosigned(3),
    errors.RateLimited("address", seconds=1),
    errors.RateLimited("key", seconds=60),
    errors.RateLimited("failure", seconds=3298),
    errors.RateLimited("streams", limit=3, seconds=1),
    errors.RateLimited("confirmations", limit=3, seconds=86_400),
    Contradiction("fork", 3, Finding("mirror_other_root", size=3)),
]


def test_errors_with_their_own_message_are_all_checked_here() -> None:
    assert {type(error).__name__ for error in BUILT} | {"RuleBroken"} == OWN_MESSAGE


@pytest.mark.parametrize("error", BUILT, ids=lambda error: type(error).__name__)
def test_an_error_is_rendered_in_each_language(error: errors.RegistryError) -> None:
    assert isinstance(error.message, Message)
    assert str(error) == render(error.message, "en")
    for language in LANGUAGES:
        text = render(error.message, language)
        assert text != error.message.code
        assert "%(" not in text


@pytest.mark.parametrize(
    ("seconds", "english", "korean"),
    [
        (1, "in one second", "1초 후"),
        (59, "in 59 seconds", "59초 후"),
        (60, "in about one minute", "약 1분 후"),
        (3298, "in about 55 minutes", "약 55분 후"),
        (5400, "in about 2 hours", "약 2시간 후"),
        (86_400, "in about 24 hours", "약 24시간 후"),
    ],
)
def test_a_wait_is_said_in_its_natural_unit_and_kept_as_a_number(seconds: int, english: str, korean: str) -> None:
    error = errors.RateLimited("key", seconds=seconds)
    assert english in render(error.message, "en")
    assert korean in render(error.message, "ko")
    assert error.params == {"seconds": seconds}


WRONG_BODIES: list[bytes] = [
    b'{"event": {"type": "pledge_announced"}}',
    b'{"event": {"type": "pledge_anounced", "pledge": "total"}}',
    b'{"event": {"type": "xyz"}}',
    b'{"event": {"type": "deal_registered", "titel": {"ko": "x"}}}',
    b'{"event": {"type": "deal_registered", "zzzzzz": 1}}',
    b'{"event": {"type": "deal_registered", "kind": "gift"}}',
    b'{"event": {"type": "pledge_announced", "pledge": "A b"}}',
    b'{"event": {"type": "pledge_announced", "pledge": "a", "amount": {"value": "5", "currency": "ZZZ"}}}',
    b'{"event": {"type": "pledge_announced", "pledge": "a", "amount": {"value": "-5", "currency": "USD"}}}',
    b'{"event": {"type": "pledge_announced", "pledge": "a", "amount": {"currency": "USD"}}, "sources": []}',
    b'{"effective_on": "2025-02-31", "event": {"type": "site_dropped", "site": "a"}}',
    b'{"effective_on": "1025-02-01", "event": {"type": "site_dropped", "site": "a"}}',
    b'{"id": "no", "event": {"type": "site_dropped", "site": "a"}}',
    b'{"effective_on": "2025-01-01", "sources": [{}], "event": {"type": "site_dropped", "site": "a"}}',
    b'{"effective_on": "2025-01-01", "sources": [{"url": "ftp"}], "event": {"type": "site_dropped", "site": "a"}}',
    b'{"effective_on": "2025-01-01", "sources": [{"url": "http://[::"}], "event": {"type": "site_dropped",'
    b' "site": "a"}}',
    b'{"effective_on": "2025-01-01", "sources": [{"url": "http://me@x.org"}], "event": {"type": "site_dropped",'
    b' "site": "a"}}',
    b'{"effective_on": "2025-01-01", "event": {"type": "site_announced", "site": "a", "place": "KR-99",'
    b' "latitude": "91", "longitude": "181"}}',
    b'{"effective_on": "2025-01-01", "event": {"type": "site_announced", "site": "a", "gpus": -1}}',
    b'{"effective_on": "2025-01-01", "event": {"type": "site_announced", "site": "a", "gpus": "many"}}',
    b'{"effective_on": "2025-01-01", "event": {"type": "milestone_scheduled", "milestone": "a",'
    b' "kind": "approval", "planned": "2027-13"}}',
    b'{"effective_on": "2025-01-01", "event": {"type": "pledge_announced", "pledge": "a",'
    b' "horizon": {"from": "2027", "until": "2026"}, "additional_to": "A", "amount": {"low": "2", "high": "1",'
    b' "currency": "USD", "stated_as": [{"currency": "USD", "value": "1"}]}}}',
    b"[]",
]


@pytest.mark.parametrize("body", WRONG_BODIES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_wrong_field_has_a_text_in_each_language(body: bytes, language: str) -> None:
    with pytest.raises(errors.Invalid) as refused:
        intake.announcements.decode_many(body)
    known = catalogue_texts(language, "field")
    for error in refused.value.field_errors:
        assert error.code in known
        assert error.code != "other"
        assert "%(" not in render(error, language)
