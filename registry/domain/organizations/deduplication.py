"""Suggests organizations that may be duplicates. An editor decides; nothing is merged automatically.

Names are compared without legal forms and regardless of word order. A table of well-known names and words maps Korean
to Latin script. A shared identifier takes precedence over any similarity of names. The module is pure.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from msgspec import Struct
from rapidfuzz import fuzz

from registry.domain.organizations.organization import Organization

SIMILARITY_THRESHOLD = 88.0
"""Two names at least this similar (0 to 100, Indel similarity of the sorted words) are suggested as duplicates."""

# Korean names and words, and how the same organizations write them in Latin script.
_ROMANIZATIONS = {
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
_LONGEST_FIRST = sorted(_ROMANIZATIONS, key=len, reverse=True)

_LEGAL_FORMS = {
    "inc", "incorporated", "corp", "corporation", "co", "company", "ltd", "limited", "llc", "plc", "lp", "gmbh", "ag",
    "se", "sa", "nv", "bv", "spa", "pte", "pty", "kk", "the",
}  # fmt: skip
_LEGAL_FORMS_KO = re.compile(r"주식회사|유한회사|유한책임회사|\(주\)|㈜|\(유\)")


class Suggestion(Struct, frozen=True):
    """Two organizations that may be duplicates, with the two names compared and a score from 0 to 100.

    `reason`: "same SCHEME" (an identifier), "same name", "initials" or "similar name".
    """

    organization: str
    other: str
    score: float
    reason: str
    names: tuple[str, str]


@lru_cache(maxsize=50_000)
def normalize_name(name: str) -> str:
    """The form in which names are compared: Latin script where the table has it, no legal form, words sorted."""
    text = unicodedata.normalize("NFKC", _LEGAL_FORMS_KO.sub(" ", name)).casefold()
    for korean in _LONGEST_FIRST:
        if korean in text:
            text = text.replace(korean, f" {_ROMANIZATIONS[korean]} ")
    words = re.findall(r"\w+", text.replace(".", "").replace("&", " and "))
    # Of a name that consists of legal forms only ("PTY Inc."), keep the first word.
    return " ".join(sorted(w for w in words if w not in _LEGAL_FORMS) or words[:1])


def suggest_duplicates(
    organization: Organization, others: Iterable[Organization], threshold: float = SIMILARITY_THRESHOLD
) -> tuple[Suggestion, ...]:
    """The organizations among `others` that may be duplicates of this one, the most similar first."""
    suggestions = [
        best
        for other in others
        if other.organization != organization.organization
        and (best := _compare(organization, other)) is not None
        and best.score >= threshold
    ]
    return tuple(sorted(suggestions, key=lambda s: (-s.score, s.other)))


def _compare(one: Organization, other: Organization) -> Suggestion | None:
    shared = set(one.identifiers) & set(other.identifiers)
    if shared:
        first = min(shared, key=lambda i: i.scheme)
        pair = (first.identifier, first.identifier)
        return Suggestion(one.organization, other.organization, 100.0, f"same {first.scheme}", pair)
    schemes = {i.scheme for i in one.identifiers} & {i.scheme for i in other.identifiers}
    if schemes:
        return None  # Different identifiers of one register prove two organizations, however similar their names.
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
    """The initials of a name of three words or more. Two letters fit too many names to compare."""
    words = [w for w in re.findall(r"[a-z]+", name.casefold()) if w not in _LEGAL_FORMS]
    return "".join(word[0] for word in words) if len(words) > 2 else None
