"""The milestones that a sentence plans, each with its date.

"Production is to begin in 2027" plans the start of operations, and so does "2027년 11월 가동할 예정이다".
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

from registry.events.values import MilestoneKind


class PlannedMilestone(Struct, frozen=True):
    """A milestone that a sentence plans; `planned` is its date in EDTF."""

    kind: MilestoneKind
    planned: str


_YEAR = r"(?<![0-9])20[2-9][0-9](?![0-9])"

# Korean: the date, then what happens: "2026년 하반기 착공해 2028년까지 완공할 계획이다".

_KOREAN = re.compile(
    rf"({_YEAR})년(?: ?(?:([0-9]{{1,2}})월|([상하])반기|([1-4])분기|[초중말]))?(?:까지|부터|께|쯤|에)? "
    r"(?:[가-힣·]{1,8} ){0,3}?[가-힣·]{0,6}?(기공식|착공|준공|완공|가동|양산|상업 ?생산)"
    # A participle or a verb in the past: "2021년 준공한 공장", "2024년 착공했다".
    r"(?![을를에]? ?(?:[가-힣]{1,3} )?(?:시작|개시)?(?:한 |했|된 |됐|하였|되었|들어갔|들어간 |마쳤|마친 |이후|중))"
)
_KOREAN_PLAN = re.compile(r"예정|계획|목표|방침|하기로|키로|[할될갈] 것|추진|한다|된다|간다")
_KOREAN_KINDS: dict[str, MilestoneKind] = {
    "기공": "groundbreaking",
    "착공": "construction_started",
    "준공": "phase_completed",
    "완공": "phase_completed",
    "가동": "operations_started",
    "양산": "operations_started",
    "상업": "operations_started",
}

# English: what happens, then the date.

_MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
_PARTS = {"first": 1, "second": 2, "third": 3, "fourth": 4}
_ENGLISH = re.compile(
    r"\b(?:expected|scheduled|slated|planned|set|due|anticipated|will|plans?|aims?|to)\b(?: [a-z]{2,10}){0,2}? "
    r"(begin|start|commence|break ground|open|be completed|be finished|complete|be (?:fully )?operational|"
    r"[cg]o(?:me)? online)\b( (?:[a-z]{2,14} ){0,3}?)(?:in|by|from|during) "
    r"(?:the |early |mid-?|late |around |end of |(?:spring|summer|fall|autumn|winter)(?: of)? )*"
    rf"(?:(first|second) half (?:of )?|(first|second|third|fourth) quarter (?:of )?|({'|'.join(_MONTHS)}) (?:of )?)?"
    rf"({_YEAR})",
    re.IGNORECASE,
)
_CONSTRUCTION = re.compile(r"\b(?:construction|building|work)\b", re.IGNORECASE)


def planned_milestones(sentence: str) -> Iterator[PlannedMilestone]:
    """The milestones that a sentence plans, in its order."""
    if _KOREAN_PLAN.search(sentence):
        for match in _KOREAN.finditer(sentence):
            year, month, half, quarter, what = match.groups()
            number = {"상": 1, "하": 2}.get(half or "")
            planned = _date(year, month=int(month or 0), half=number or 0, quarter=int(quarter or 0))
            yield PlannedMilestone(_KOREAN_KINDS[what[:2]], planned)
    for match in _ENGLISH.finditer(sentence):
        verb, about, half, quarter, month, year = match.groups()
        planned = _date(
            year,
            month=_MONTHS.index(month.lower()) + 1 if month else 0,
            half=_PARTS.get((half or "").lower(), 0),
            quarter=_PARTS.get((quarter or "").lower(), 0),
        )
        yield PlannedMilestone(_english_kind(verb.lower(), about, sentence[: match.start()]), planned)


def _date(year: str, *, month: int, half: int, quarter: int) -> str:
    """A date in EDTF; zero is not stated."""
    if 1 <= month <= 12:
        return f"{year}-{month:02}"
    if half:
        return f"{year}-01/{year}-06" if half == 1 else f"{year}-07/{year}-12"
    return f"{year}-{quarter + 32}" if quarter else year


def _english_kind(verb: str, about: str, before: str) -> MilestoneKind:
    if verb == "break ground":
        return "groundbreaking"
    if verb in ("be completed", "be finished", "complete"):
        return "phase_completed"
    if verb in ("begin", "start", "commence") and _CONSTRUCTION.search(about.strip() or before[-40:]):
        return "construction_started"
    return "operations_started"
