"""Korean particles after values in messages."""

from __future__ import annotations

import pytest

from registry.errors import FieldError
from registry.i18n import render
from registry.i18n.particles import choose_particles


@pytest.mark.parametrize(
    ("both", "chosen"),
    [
        ("‘울산’을(를) 찾습니다", "‘울산’을 찾습니다"),
        ("‘나주’을(를) 찾습니다", "‘나주’를 찾습니다"),
        ("SK그룹은(는)", "SK그룹은"),
        ("아마존웹서비스이(가)", "아마존웹서비스가"),
        ("서울(으)로 부산(으)로 나주(으)로", "서울로 부산으로 나주로"),
        ("8(으)로 6(으)로 2(으)로 0이(가)", "8로 6으로 2로 0이"),
        ("2025-06-21은(는)", "2025-06-21은"),
        ("‘공장’(이)라는 ‘부지’(이)라는", "‘공장’이라는 ‘부지’라는"),
        ("인천와(과) 대구와(과)", "인천과 대구와"),
        # How another script is pronounced is not known.
        ("‘Corning’은(는)", "‘Corning’은(는)"),
    ],
)
def test_particle_follows_the_last_sound(both: str, chosen: str) -> None:
    assert choose_particles(both) == chosen


def test_message_has_the_particle_of_its_value() -> None:
    error = FieldError("/place", "scheme_named", value="울산", known="KR-31")
    assert render(error, "ko").startswith("울산은 여기서 KR-31")
