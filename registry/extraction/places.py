"""The places in a sentence: Korean provinces and cities, other countries, and states of the United States by name."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pycountry
from msgspec import Struct

# Korea's provinces, and cities and industrial areas by province, as the press names them. ISO 3166-2 codes.
_PROVINCES = {
    "서울": "KR-11",
    "부산": "KR-26", "대구": "KR-27", "인천": "KR-28", "광주": "KR-29", "대전": "KR-30", "울산": "KR-31",
    "경기": "KR-41", "강원": "KR-42", "충북": "KR-43", "충청북도": "KR-43", "충남": "KR-44", "충청남도": "KR-44",
    "전북": "KR-45", "전라북도": "KR-45", "전남": "KR-46", "전라남도": "KR-46", "경북": "KR-47", "경상북도": "KR-47",
    "경남": "KR-48", "경상남도": "KR-48", "제주": "KR-49", "세종": "KR-50",
}  # fmt: skip
_CITIES = {
    "KR-28": ("송도", "청라", "영종"),
    "KR-31": ("미포", "온산"),
    "KR-41": (
        "수원", "용인", "성남", "판교", "고양", "화성", "평택", "이천", "안산", "안양", "부천", "파주", "김포",
        "남양주",
        "의정부", "시흥", "광명", "하남", "여주", "안성", "오산", "군포", "의왕", "포천", "양주", "동탄",
    ),
    "KR-42": ("춘천", "원주", "강릉", "동해시", "속초", "삼척", "태백"),
    "KR-43": ("청주", "충주", "제천", "오창", "오송", "음성군", "진천"),
    "KR-44": ("천안", "아산", "서산", "당진", "공주", "보령", "논산", "탕정"),
    "KR-45": ("전주", "군산", "익산", "정읍", "남원", "김제", "새만금", "완주"),
    "KR-46": ("여수", "순천", "광양", "목포", "나주", "해남", "솔라시도", "장성군", "무안"),
    "KR-47": ("포항", "구미", "경주", "안동", "김천", "영주", "영천", "상주", "문경", "경산"),
    "KR-48": ("창원", "진주", "거제", "김해", "양산", "통영", "사천", "밀양"),
}  # fmt: skip
_ENGLISH = {
    "Seoul": "KR-11", "Busan": "KR-26", "Daegu": "KR-27", "Incheon": "KR-28", "Songdo": "KR-28", "Daejeon": "KR-30",
    "Ulsan": "KR-31", "Mipo": "KR-31", "Gyeonggi": "KR-41", "Pyeongtaek": "KR-41", "Yongin": "KR-41", "Icheon": "KR-41",
    "Hwaseong": "KR-41", "Gangwon": "KR-42", "Cheongju": "KR-43", "Cheonan": "KR-44", "Asan": "KR-44",
    "Jeonju": "KR-45", "Gunsan": "KR-45", "Jeongeup": "KR-45", "Saemangeum": "KR-45", "Yeosu": "KR-46",
    "Haenam": "KR-46", "Gwangyang": "KR-46", "Pohang": "KR-47", "Gumi": "KR-47", "Changwon": "KR-48",
    "Jeju": "KR-49", "Sejong": "KR-50",
}  # fmt: skip
_KOREAN_COUNTRIES = {
    "미국": "US", "중국": "CN", "일본": "JP", "독일": "DE", "프랑스": "FR", "영국": "GB", "베트남": "VN", "인도": "IN",
    "폴란드": "PL", "헝가리": "HU", "대만": "TW", "싱가포르": "SG", "말레이시아": "MY", "인도네시아": "ID",
    "호주": "AU",
    "캐나다": "CA", "네덜란드": "NL", "벨기에": "BE", "사우디아라비아": "SA", "아랍에미리트": "AE",
}  # fmt: skip
# A name that may also mean something else needs what makes it a place: "경기 침체" is a recession.
_AMBIGUOUS = {
    "경기": r"경기(?:도|·|,|\)|\s?(?:평택|용인|화성|이천|수원|파주|고양|성남|안산|북부|남부))",
    "공주": "공주시",
    "동해": "동해시",
}


class FoundPlace(Struct, frozen=True):
    """A place in a sentence: its ISO 3166 code, the name that the sentence uses, and where that is."""

    code: str
    name: str
    start: int
    end: int


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    korean = {**_PROVINCES, **{city: code for code, cities in _CITIES.items() for city in cities}, **_KOREAN_COUNTRIES}
    patterns = [(re.compile(_AMBIGUOUS.get(name, re.escape(name))), code) for name, code in korean.items()]
    english = {**_ENGLISH}
    states: Any = pycountry.subdivisions.get(country_code="US")  # type: ignore[no-untyped-call]
    english |= {state.name: state.code for state in states if state.type in ("State", "District")}
    english |= {
        country.name.split(",")[0]: country.alpha_2 for country in pycountry.countries if country.alpha_2 != "KR"
    }
    abbreviated = [
        (re.compile(rf"(?<=[a-z], ){state.code[3:]}\b"), state.code) for state in states if state.type == "State"
    ]
    # No press release from "Korea" means the north, and "South Korea" is where Korean papers are written.
    english.pop("Korea", None)
    # A state that is also a country's name, and short names that are words.
    for name in ("Georgia", "Jersey", "Guinea", "Turkey", "Chad", "Jordan", "Niue", "Togo", "Mali", "Oman"):
        english.pop(name, None)
    patterns += abbreviated
    patterns += [(re.compile(rf"\b{re.escape(name)}\b"), code) for name, code in english.items()]
    return patterns


def find_places(sentence: str) -> list[FoundPlace]:
    """The places of a sentence in its order. A city stands for its province; a country counts if no part of it does."""
    found: list[FoundPlace] = []
    for pattern, code in _patterns():
        for match in pattern.finditer(sentence):
            if _is_no_site(sentence, match.start(), match.end(), code):
                continue
            found.append(FoundPlace(code, match[0].strip("·,) "), match.start(), match.end()))
    found.sort(key=lambda place: (place.start, place.start - place.end))
    kept: list[FoundPlace] = []
    for place in found:
        if kept and place.start < kept[-1].end:
            continue
        kept.append(place)
    return kept


# A place where something was said, not where something is built: 경주 예술의전당에서 열린, held in Gyeongju.
_VENUE_AFTER = re.compile(r"[^.,]{0,25}에서 (?:열린|열리는|개최|가진|기자간담회)|[^.,]{0,12}에 본사를 둔")
_VENUE_BEFORE = re.compile(
    r"(?:held|speaking|meeting|ceremony|summit|conference|headquartered|based) (?:[\w ]{0,20} )?(?:in|at) $",
    re.IGNORECASE,
)


def _is_no_site(sentence: str, start: int, end: int, code: str) -> bool:
    """Whether a place is no site: where a company is from ("프랑스의 르노는"), a venue, or a part of a longer word."""
    if _VENUE_AFTER.match(sentence[end:]) or _VENUE_BEFORE.search(sentence[:start]):
        return True
    if len(code) == 2 and re.match(r"의 |계 ", sentence[end:]):
        return True
    before = sentence[start - 1 : start]
    return "가" <= before <= "힣" and not sentence[start:end].isascii()
