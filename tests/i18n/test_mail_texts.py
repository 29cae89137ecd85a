"""Every text of an e-mail is in each language, and mentions only what it is given."""

from __future__ import annotations

import msgspec
import pytest

from registry.api.watches import NewWatch
from registry.delivery.watch_mail import MailText
from registry.i18n import LANGUAGES, render
from tests.i18n.codes import catalogue_texts, code_uses, parameters_of

USES = code_uses("MailText")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_of_an_email_is_in_each_language(language: str) -> None:
    texts = catalogue_texts(language, "mail")
    assert {use.code for use in USES} == set(texts)
    assert {use.where: parameters_of(texts[use.code]) - use.params for use in USES if use.params} == {
        use.where: frozenset() for use in USES if use.params
    }


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("count", [1, 2])
def test_number_of_events_chooses_the_form(language: str, count: int) -> None:
    text = render(MailText("news_subject", about="Ulsan", count=count), language)
    assert text.startswith("Ulsan: ")
    assert ("2" in text) == (count == 2)


def test_watch_takes_the_interface_languages_and_no_other() -> None:
    for language in LANGUAGES:
        assert msgspec.convert({"email": "a@example.org", "language": language}, NewWatch).language == language
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"email": "a@example.org", "language": "xx"}, NewWatch)
