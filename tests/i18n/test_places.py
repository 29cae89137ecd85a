"""Names of places in each language."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pycountry import subdivisions

from registry.i18n.places import place_name, place_names
from tests.i18n.codes import catalogue_texts

SUBDIVISIONS: Any = subdivisions


def test_every_state_of_the_united_states_has_a_korean_name() -> None:
    states = {one.code for one in SUBDIVISIONS.get(country_code="US") if one.type in ("State", "District")}
    assert len(states) == 51
    assert states <= catalogue_texts("ko", "subdivision").keys()


@pytest.mark.parametrize("country", ["AU", "CA", "CN", "DE", "IN", "JP", "MY", "TW", "VN"])
def test_every_subdivision_of_a_country_with_many_deals_has_a_korean_name_of_its_own(country: str) -> None:
    codes = {one.code for one in SUBDIVISIONS.get(country_code=country)}
    names = {place_name(code, "ko") for code in codes}
    assert len(names) == len(codes)
    assert not any(re.search("[A-Za-z]", name) for name in names)


def test_korean_names_are_of_subdivisions_that_exist() -> None:
    assert [code for code in catalogue_texts("ko", "subdivision") if SUBDIVISIONS.get(code=code) is None] == []


def test_a_foreign_subdivision_is_named_with_its_country_in_the_order_of_the_language() -> None:
    assert place_name("US-TX", "en") == "Texas, United States"
    assert place_name("US-TX", "ko") == "미국 텍사스주"
    # Without a Korean name it has that of ISO 3166-2.
    assert place_name("JP-13", "ko") == "일본 도쿄도"
    assert place_name("BE-BRU", "ko").startswith("벨기에 Bruxelles")
    assert place_name("KR-31", "ko") == "울산"
    names = place_names("US-TX")
    assert (names["ko"], names["en"], names[""]) == (("텍사스주",), ("Texas",), ())
