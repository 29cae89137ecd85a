"""What a sentence says beside names and amounts: investment, stage, capacity, horizon, partnership."""

from __future__ import annotations

import re

from msgspec import Struct

from registry.events.values import Instrument, Qualifier, Stage
from registry.extraction.milestones import PlannedMilestone, planned_milestones

# A sentence about an investment, not about its environment.
_INVESTS = re.compile(
    r"투자|투입|건설|건립|구축|조성|착공|준공|증설|신설|확장|확충|확대|설립|짓(?:는|고|기로)|공장|"
    r"데이터센터|데이터 센터|도입하기|"
    r"\binvest|\bbuild|\bconstruct|\bexpan[ds]|\bplant\b|\bdata cent|\bfactory\b|\bfacility\b|\bground\b|\bhyperscale|"
    r"\bpledge|\bcommit",
    re.IGNORECASE,
)
# Statements about the future of a market, opinions and results, which announce nothing.
_COMMENTARY = re.compile(
    r"업계에(?:서는|선)|평가(?:된다|가 나오|했|하며)|전망(?:이다|된다|했다|으로)|기대(?:하고|된다|"
    r"했다)|분석(?:했다|이다)|예측|"
    r"\b(?:analysts?|shares|stock|revenue|quarter(?:ly)?|according to a report)\b",
    re.IGNORECASE,
)
_STAGES: tuple[tuple[re.Pattern[str], Stage], ...] = (
    (
        re.compile(
            # In the past or the present only: "가동을 시작할 예정이다" is a plan.
            r"가동(?:을 (?:시작했|시작해 |개시했)|에 들어(?:갔|가 )|했| ?중(?:이|인))|"
            r"준공했|준공식을 (?:열었|가졌|개최했)|"
            r"\b(?:began|started) (?:operations?|production)|\bopened\b",
            re.IGNORECASE,
        ),
        "operating",
    ),
    (
        re.compile(
            r"건설 ?중|건설하고 있|구축하고 있|짓고 있|건립하고 있|\bunder construction\b|\bis building\b|"
            r"\bbeing built\b|\b(?:has|have) (?:begun|started) (?:building|construction)|\bbroke ground\b",
            re.IGNORECASE,
        ),
        "construction",
    ),
)
_INSTRUMENTS: tuple[tuple[re.Pattern[str], Instrument], ...] = (
    (re.compile(r"합작법인|조인트벤처|\bjoint venture\b", re.IGNORECASE), "joint_venture"),
    (re.compile(r"투자의향서|\bletter of intent\b", re.IGNORECASE), "letter_of_intent"),
    (re.compile(r"양해각서|업무협약|\bMOU\b|\bmemorandum of understanding\b", re.IGNORECASE), "mou"),
    (
        re.compile(
            r"(?:본계약|공급계약|투자계약)(?:을|를)? ?체결|\bsigned (?:a|the) (?:definitive )?(?:contract|agreement)\b",
            re.IGNORECASE,
        ),
        "contract",
    ),
)
_PARTNERSHIP = re.compile(
    r"파트너십(?:을|를)? ?체결|협약(?:을|를)? ?체결|손잡|\bpartner(?:ship|ed|ing)\b|\bteam(?:ed)? up\b", re.IGNORECASE
)
_INTENTION = re.compile(
    r"투자의향|의향(?:을|서)|\b(?:intends?|intention|letter of intent|is considering)\b|검토", re.IGNORECASE
)
_BUDGET = re.compile(r"예산|\bbudget\b", re.IGNORECASE)
_ADDITIONAL = re.compile(r"추가|\b(?:additional|another|further|extra|more)\b", re.IGNORECASE)
_JOINT = re.compile(r"공동(?:으로)? ?투자|공동 투자|\bjointly\b|\btogether\b", re.IGNORECASE)
_BACK = re.compile(
    r"이번 (?:추가 )?(?:투자|협력|사업|프로젝트)|이 (?:시설|사업|프로젝트|공장|센터)|"
    r"^(?:이 )?(?:회사|업체)[는은]|\bthe (?:new )?(?:\$[\d.,]+ \w+ |"
    r"more than \$[\d.,]+ \w+ )?(?:investment|project|facility|plant|site|factory|company)\b",
    re.IGNORECASE,
)
_UNTIL = re.compile(
    r"(20[2-9][0-9])년(?:까지|께까지)|\bby (?:the end of )?(20[2-9][0-9])\b|"
    r"\bthrough (20[2-9][0-9])\b|\buntil (20[2-9][0-9])\b",
    re.IGNORECASE,
)
_SPAN = re.compile(
    r"(20[0-9]{2})[~∼–-](20[2-9][0-9])년?|\bfrom (20[0-9]{2}) (?:to|through) (20[2-9][0-9])\b", re.IGNORECASE
)
_YEARS = re.compile(
    r"(?:향후|앞으로)?\s?([0-9]{1,2})년간|\bover (?:the next )?(\w+) years\b|\bin the next (\w+) years\b", re.IGNORECASE
)
_WORDS = {
    w: n for n, w in enumerate(["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"], 1)
}
# From the beginning of a run of digits only, and never given back in part: else a run is read again from each digit.
_NUMBER = r"(?<![0-9])(?<![0-9],)[0-9][0-9,]{0,15}+"
_POWER = re.compile(
    r"(약 |최대 |up to |about |around |over |"
    rf"more than )?({_NUMBER}(?:\.[0-9]{{1,6}})?)[\s-]?(메가와트|기가와트|MW|GW|megawatts?|gigawatts?)",
    re.IGNORECASE,
)
_GPUS = re.compile(
    rf"(약 |최대 |up to |about |around |over |more than )?({_NUMBER})\s?(만|천)?\s?(?:개의?|장의?|대의?|기의?)?\s?"
    r"(?:이상의? |여 ?개의? )?(?:그래픽처리장치|엔비디아 GPU|최신 GPU|GPU|GPUs|Nvidia GPUs|AI chips)",
    re.IGNORECASE,
)
_JOBS = re.compile(
    rf"({_NUMBER})\s?(만|천)?\s?(?:여 ?)?(?:명|개)의?\s?(?:이상의 )?(?:신규 )?(?:일자리|고용)|"
    rf"({_NUMBER}) (?:new )?jobs",
    re.IGNORECASE,
)
_QUALIFIER: dict[str, Qualifier] = {
    "약": "about", "about": "about", "around": "about", "최대": "up_to", "up to": "up_to", "over": "more_than",
    "more than": "more_than",
}  # fmt: skip


class Quantity(Struct, frozen=True):
    """A figure with its qualifier, as a decimal text or a whole number."""

    value: str
    qualifier: Qualifier | None


class Cues(Struct, frozen=True):
    """What a sentence says, by rules over its words.

    Attributes:
        invests: It is about an investment and no commentary.
        goes_back: It goes on about an investment that was named before ("the facility").
        years: The length of the period in which the amount is to be spent.
    """

    invests: bool
    is_commentary: bool
    goes_back: bool
    stage: Stage | None
    milestones: tuple[PlannedMilestone, ...]
    instrument: Instrument | None
    is_partnership: bool
    is_intention: bool
    is_budget: bool
    is_additional: bool
    is_joint: bool
    since: str | None
    until: str | None
    years: int | None
    power_mw: Quantity | None
    gpus: Quantity | None
    jobs: Quantity | None


def cues_of(sentence: str) -> Cues:
    """What a sentence says."""
    span = _SPAN.search(sentence)
    until = _UNTIL.search(sentence)
    return Cues(
        invests=bool(_INVESTS.search(sentence)) and not _COMMENTARY.search(sentence),
        is_commentary=bool(_COMMENTARY.search(sentence)),
        goes_back=bool(_BACK.search(sentence)),
        stage=next((stage for pattern, stage in _STAGES if pattern.search(sentence)), None),
        milestones=tuple(planned_milestones(sentence)),
        instrument=next((one for pattern, one in _INSTRUMENTS if pattern.search(sentence)), None),
        is_partnership=bool(_PARTNERSHIP.search(sentence)),
        is_intention=bool(_INTENTION.search(sentence)),
        is_budget=bool(_BUDGET.search(sentence)),
        is_additional=bool(_ADDITIONAL.search(sentence)),
        is_joint=bool(_JOINT.search(sentence)),
        since=next(filter(None, span.groups()[::2]), None) if span else None,
        until=next(filter(None, span.groups()[1::2]), None)
        if span
        else until and next(filter(None, until.groups()), None),
        years=_years(sentence),
        power_mw=_power(sentence),
        gpus=_count(_GPUS.search(sentence)),
        jobs=_jobs(sentence),
    )


def _years(sentence: str) -> int | None:
    match = _YEARS.search(sentence)
    text = next(filter(None, match.groups()), "") if match else ""
    return int(text) if text.isdigit() else _WORDS.get(text.lower())


def _power(sentence: str) -> Quantity | None:
    match = _POWER.search(sentence)
    if match is None:
        return None
    scale = 1000 if match[3].lower().startswith(("기가", "gw", "giga")) else 1
    value = float(match[2].replace(",", "")) * scale
    return Quantity(f"{value:g}" if value < 1e6 else str(int(value)), _qualifier(match[1]))


def _count(match: re.Match[str] | None) -> Quantity | None:
    if match is None:
        return None
    count = int(match[2].replace(",", "")) * {"만": 10_000, "천": 1000}.get(match[3] or "", 1)
    return Quantity(str(count), _qualifier(match[1])) if count >= 10 else None


def _jobs(sentence: str) -> Quantity | None:
    match = _JOBS.search(sentence)
    if match is None:
        return None
    count = int((match[1] or match[3]).replace(",", "")) * {"만": 10_000, "천": 1000}.get(match[2] or "", 1)
    return Quantity(str(count), None)


def _qualifier(word: str | None) -> Qualifier | None:
    return _QUALIFIER.get((word or "").strip().lower())
