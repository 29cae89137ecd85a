"""What the names and the texts of a sheet's columns usually mean, in English and Korean: guesses for a draft."""

from __future__ import annotations

import re
from collections.abc import Iterable

from registry.i18n import Label, Message
from registry.imports.messages import ImportText

_MEANINGS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    # What a column's name contains, the field that it may be, and the kinds of values that the field takes.
    (r"\b(capex|investment|amount|cost|usd|krw|eur|value|투자)|\$|금액|사업비", "pledge.amount", ("number", "amount")),
    (
        r"\b(company|companies|owner|investor|developer|operator|manufacturer|parent|sponsor)|기업|회사|업체",
        "party",
        ("text", "choice"),
    ),
    (r"\b(state|province|country|region|nation)\b|국가|지역|시도|소재지", "site.place", ("text", "choice")),
    (r"\baddress|location\b|주소", "site.address", ("text", "choice")),
    (r"\b(city|town|locality|county)\b|도시", "site.locality", ("text", "choice")),
    (r"^lat(itude)?$|위도", "site.latitude", ("number", "text")),
    (r"^(lon|lng|long|longitude)$|경도", "site.longitude", ("number", "text")),
    (r"\bpower|capacity.*\bmw\b|\(mw\)|\bmw\b|전력", "site.power_mw", ("number",)),
    (r"\bgpus?\b|\b(number|count) of .*(chips|accelerators)", "site.gpus", ("number",)),
    (r"\bh100", "metric.h100_equivalents", ("number",)),
    (r"\bjobs|employment|고용", "metric.jobs", ("number",)),
    (r"\bannounce|공개일|발표|협약일|체결일", "effective_on", ("date",)),
    (r"\b(start|operation(s|al)?|completion|online|cod)\b|가동|완공|준공", "milestone.planned", ("date",)),
    (r"\bstatus|stage|phase\b|단계|상태", "status", ("choice", "text")),
    (r"\b(technology|fuel|product)\b|기술", "classifications.technology", ("choice", "text")),
    (r"\b(segment|sector|industry)\b|업종", "classifications.segment", ("choice", "text")),
    (r"\b(project|facility|plant).?type\b", "classifications.project_type", ("choice", "text")),
    (r"\b(url|link|source|website)\b|출처|링크", "source.url", ("url",)),
)
REPEATED = frozenset({"party", "milestone.planned", "source.url"})
"""What a row may state several times. Of amounts, the first is taken: further ones are often parts of it."""
MEANINGS = frozenset({"deal.key", "deal.title", "deal.summary", *(meaning for _, meaning, _ in _MEANINGS)})
"""The fields that a column may be guessed to be."""
_REMARK = re.compile(r"\b(notes?|quote|comments?|remarks?|wikidata|ids?)\b|비고|특이사항|메모", re.IGNORECASE)
"""What a column's name contains that is about another column's value."""
_SUMMARY = re.compile(r"^(비고|특이사항)$")
"""The name of a column of remarks about the deal."""
_NO_FACT = re.compile(r"(기업|회사|업체) ?(코드|번호|수)$|본사|보조금|지원금|장려금")
"""What a column's name contains that is not about the deal's parties, sites and pledges, although it names one."""
_CONTACT = re.compile(
    r"\b(phone|telephone|tel|mobile|fax|e-?mail|contact|zip|postal|postcode)\b|전화|내선|휴대|팩스|이메일|우편|담당|대표번호",
    re.IGNORECASE,
)
"""What the name of a column contains that says whom to ask, or where post goes: it identifies no deal."""
_OF_COMPANY = re.compile(
    r"\b(company|owner|parent|ticker|isin|lei|duns|tax|vat)\b|사업자|법인|업종|종목|기업|회사|업체", re.IGNORECASE
)
"""What the name of a column contains whose texts identify companies."""
_OF_LIST = re.compile(
    r"^((unique|record|deal|row).?)?(id|key)$|(관리|접수|사업|프로젝트|고유) ?(번호|코드)$", re.IGNORECASE
)
"""The name of a column that identifies the rows of its list."""
_SERIAL_NUMBER = re.compile(r"^(연번|순번|번호|일련 ?번호|no\.?|nr\.?|#|s/?n)$", re.IGNORECASE)
"""The name of a column with serial numbers: in the next edition, a deal may have another one."""
KEY = re.compile(r"\b(unique.?)?id$|\bkey\b|\bcode$|번호$|^id\b", re.IGNORECASE)
TITLE = re.compile(r"\b(project|facility|plant|site|name|title|handle|deal)\b|명$|이름", re.IGNORECASE)
DESCRIPTION = re.compile(r"\bdescription\b|설명|내용", re.IGNORECASE)

_KOREAN_UNIT = re.compile(
    r"(?P<digits>십|백|천)?(?P<myriads>만|억|조)?\s?(?P<currency>원|미?달러|불|유로|엔|위안|US\$|\$|USD|KRW|EUR|JPY|CNY)(?![가-힣\w])"
    r"|\((?P<only_digits>십|백|천)?(?P<only_myriads>만|억|조)\)"
)
"""The unit of amounts in Korean, such as 백만 달러; 억 alone, in parentheses, is of won."""
_DIGITS = {"십": 10, "백": 100, "천": 1000}
_MYRIADS = {"만": 10**4, "억": 10**8, "조": 10**12}
_FACTORS = (
    (r"billion|\bbn\b|\bb\b", "1000000000"),
    (r"million|\bmn\b|\bm\b", "1000000"),
    (r"thousand|\bk\b", "1000"),
)
_CURRENCIES = (
    (r"USD|US\$|\$|달러|불\b", "USD"),
    (r"KRW|₩|원\b", "KRW"),
    (r"EUR|€|유로", "EUR"),
    (r"GBP|£", "GBP"),
    (r"CNY|위안", "CNY"),
    (r"JPY|¥|엔", "JPY"),
)
_UNIT_LINE = re.compile(r"(?:단위|\bunits?)\s*[:：]\s*([^)\]]+)", re.IGNORECASE)

_ROLES = {"operator": "operator", "owner": "owner", "developer": "builder", "manufacturer": "supplier"}

EMPTY_WORDS = frozenset({"n/a", "na", "-", "–", "—", "none", "unknown", "tbd", "tba", "?", "미정", "없음", "미공개"})
"""Texts that usually mean the same as an empty cell."""

_STAGES = (
    (r"retire|closed|decommission", "retired"),
    (r"operat|online|complete|running|existing|가동|운영|준공", "operating"),
    (r"construct|building|착공|건설|공사", "construction"),
    (r"cancel|취소", "cancelled"),
    (r"suspend|hold|pause|보류|중단", "suspended"),
    (r"shelve|mothball", "shelved"),
    (r"sign|협약", "signed"),
    (r"commit|approved|확정", "committed"),
    (r"announc|plan|propos|intend|발표|계획|예정|추진", "intention"),
)


def meaning_of(name: str, kind: str) -> str | None:
    """The field of a mapping that a column with values of a kind may be; None if none is known."""
    name = name.replace("_", " ")
    if _CONTACT.search(name) or _NO_FACT.search(name):
        return None
    if _REMARK.search(name):
        return "deal.summary" if _SUMMARY.search(name) and kind in ("choice", "text") else None
    for pattern, meaning, kinds in _MEANINGS:
        if kind in kinds and re.search(pattern, name, re.IGNORECASE):
            return meaning
    return None


def name_of_field(meaning: str) -> Message:
    """The name of a field of a mapping, as the pages call it."""
    block, _, field = meaning.partition(".")
    match block, field:
        case "deal", "key":
            return Label("import_field/key")
        case (("party" | "status"), ""):
            return Label(f"import_block/{block}")
        case ("deal", name) | (name, ""):
            return Label(f"field/{name}")
        case "classifications", axis:
            return Label(f"axis/{axis}")
        case "metric", metric:
            return Label(f"metric/{metric}")
        case _:
            return ImportText("field-of-item", item=Label(f"import_block/{block}"), field=Label(f"field/{field}"))


def says_more(name: str) -> bool:
    """Whether a column of this name has descriptions or remarks, which name nothing."""
    name = name.replace("_", " ")
    return bool(_REMARK.search(name) or DESCRIPTION.search(name) or _CONTACT.search(name))


def is_of_company(name: str) -> bool:
    """Whether a column of this name has names, numbers or codes of companies, which may have several deals."""
    return _OF_COMPANY.search(name.replace("_", " ")) is not None


def rank_of_key(name: str) -> int | None:
    """The place of a column among those that identify rows by their name, the best first; None if it is not one.

    Numbers and codes of companies, and how to reach them, are unique only by chance.
    """
    name = name.replace("_", " ")
    if not KEY.search(name) or _CONTACT.search(name) or is_of_company(name) or is_serial_number(name):
        return None
    return 0 if _OF_LIST.search(name) else 1 if TITLE.search(name) else 2


def is_serial_number(name: str) -> bool:
    """Whether a column of this name counts the rows."""
    return _SERIAL_NUMBER.search(" ".join(name.split())) is not None


def unit_of(name: str) -> tuple[str | None, str | None]:
    """The factor and the currency of a column of amounts, as far as its name says them."""
    for match in _KOREAN_UNIT.finditer(name):
        digits, myriads = match["digits"] or match["only_digits"], match["myriads"] or match["only_myriads"]
        factor = _DIGITS.get(digits, 1) * _MYRIADS.get(myriads, 1)
        if factor > 1:
            return str(factor), _currency_of(match["currency"] or "원")
    factors = (factor for pattern, factor in _FACTORS if re.search(pattern, name, re.IGNORECASE))
    return next(factors, None), _currency_of(name)


def _currency_of(text: str) -> str | None:
    return next((code for pattern, code in _CURRENCIES if re.search(pattern, text, re.IGNORECASE)), None)


def unit_line_of(texts: Iterable[str]) -> str | None:
    """The text above a table that says the unit of its amounts, such as `(단위: 억원)`; None if there is not one."""
    units = {
        unit_of(f"({part.strip()})"): text
        for text in texts
        if (match := _UNIT_LINE.search(text))
        for part in re.split(r"[,/·]", match[1])
    }
    units.pop((None, None), None)
    # Of several, it is not known which column has which.
    return next(iter(units.values())) if len(units) == 1 else None


def role_of(name: str) -> str:
    """The role of the organizations in a column of this name."""
    return next((role for word, role in _ROLES.items() if word in name.casefold()), "investor")


def stage_of(text: str) -> str | None:
    """The stage that a text of a sheet may mean; None if none is known."""
    return next((stage for pattern, stage in _STAGES if re.search(pattern, text, re.IGNORECASE)), None)
