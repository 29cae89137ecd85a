"""Which organizations may be the same under two names: suggestions for a person, never a merge.

Names are compared without their legal forms, in any order of words, and across Korean and Latin script by a table of
what well-known names and words are called in the other. A shared identifier outweighs every likeness of names. Pure.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from msgspec import Struct
from rapidfuzz import fuzz

from registry.domain.organization import Organization

LIKE = 88.0
"""From this likeness on (0 to 100, Indel similarity of the sorted words) two names are suggested as one."""

# Korean names and words as the same organizations write them in Latin letters; longer ones are tried first.
_ACROSS = {
    "아마존웹서비스": "amazon web services", "아마존": "amazon", "마이크로소프트": "microsoft", "구글": "google",
    "메타": "meta", "오라클": "oracle", "엔비디아": "nvidia", "애플": "apple", "블랙록": "blackrock",
    "글로벌인프라스트럭처파트너스": "global infrastructure partners", "앰코테크놀로지": "amkor technology",
    "앰코": "amkor", "코닝": "corning", "에어리퀴드": "air liquide", "지멘스": "siemens", "헬시니어스": "healthineers",
    "유미코아": "umicore", "르노": "renault", "알리바바": "alibaba", "지마켓": "gmarket", "g마켓": "gmarket",
    "신세계": "shinsegae", "삼성": "samsung", "현대": "hyundai", "에스케이": "sk", "엘지": "lg", "케이티": "kt",
    "네이버": "naver", "카카오": "kakao", "하이닉스": "hynix", "텔레콤": "telecom", "브로드밴드": "broadband",
    "전자": "electronics", "자동차": "motor", "테크놀로지": "technology", "반도체": "semiconductor",
    "클라우드": "cloud", "홀딩스": "holdings", "그룹": "group", "코리아": "korea", "한국": "korea",
    "과학기술정보통신부": "ministry of science and ict",
}  # fmt: skip
_ACROSS_FIRST = sorted(_ACROSS, key=len, reverse=True)

_LEGAL_FORMS = {
    "inc", "incorporated", "corp", "corporation", "co", "company", "ltd", "limited", "llc", "plc", "lp", "gmbh", "ag",
    "se", "sa", "nv", "bv", "spa", "pte", "pty", "kk", "the",
}  # fmt: skip
_LEGAL_FORMS_KO = re.compile(r"주식회사|유한회사|유한책임회사|\(주\)|㈜|\(유\)")


class Suggestion(Struct, frozen=True):
    """Two organizations that may be one. `reason`: same identifier, same name, initials, or similar name."""

    organization: str
    other: str
    score: float
    reason: str
    names: tuple[str, str]


@lru_cache(maxsize=50_000)
def normalize_name(name: str) -> str:
    """A name as names are compared: in one script where the table knows it, no legal form, words sorted."""
    text = unicodedata.normalize("NFKC", _LEGAL_FORMS_KO.sub(" ", name)).casefold()
    for korean in _ACROSS_FIRST:
        if korean in text:
            text = text.replace(korean, f" {_ACROSS[korean]} ")
    words = re.findall(r"\w+", text.replace(".", "").replace("&", " and "))
    # A name that is nothing but legal forms ("PTY Inc.") is its first word.
    return " ".join(sorted(w for w in words if w not in _LEGAL_FORMS) or words[:1])


def suggest_duplicates(
    organization: Organization, others: Iterable[Organization], like: float = LIKE
) -> tuple[Suggestion, ...]:
    """Who among the others may be the same as this organization, the likeliest first."""
    found = [
        best
        for other in others
        if other.organization != organization.organization
        and (best := _compare(organization, other)) is not None
        and best.score >= like
    ]
    return tuple(sorted(found, key=lambda s: (-s.score, s.other)))


def _compare(one: Organization, other: Organization) -> Suggestion | None:
    shared = set(one.identifiers) & set(other.identifiers)
    if shared:
        held = min(shared, key=lambda i: i.scheme)
        pair = (held.identifier, held.identifier)
        return Suggestion(one.organization, other.organization, 100.0, f"same {held.scheme}", pair)
    schemes = {i.scheme for i in one.identifiers} & {i.scheme for i in other.identifiers}
    if schemes:
        return None  # Each has its own number in the same register: two organizations, however alike their names.
    best: Suggestion | None = None
    for a in one.all_names():
        for b in other.all_names():
            score, reason = _similarity(a, b)
            if best is None or score > best.score:
                best = Suggestion(one.organization, other.organization, score, reason, (a, b))
    return best


def _similarity(a: str, b: str) -> tuple[float, str]:
    one, two = normalize_name(a), normalize_name(b)
    if one == two:
        return 100.0, "same name"
    if _initials(a) == two.replace(" ", "") or _initials(b) == one.replace(" ", ""):
        return 90.0, "initials"
    return round(fuzz.ratio(one, two), 1), "similar name"


def _initials(name: str) -> str | None:
    """The initials of a name of three words or more; two letters are anybody's."""
    words = [w for w in re.findall(r"[a-z]+", name.casefold()) if w not in _LEGAL_FORMS]
    return "".join(word[0] for word in words) if len(words) > 2 else None
