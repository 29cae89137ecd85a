"""What the names and the texts of a sheet's columns usually mean, in English and Korean: guesses for a draft."""

from __future__ import annotations

import re

from registry.i18n import Label, Message
from registry.imports.messages import ImportText

_MEANINGS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    # What a column's name contains, the field that it may be, and the kinds of values that the field takes.
    (r"\b(capex|investment|amount|cost|usd|krw|eur|value|투자)|\$", "pledge.amount", ("number", "amount")),
    (
        r"\b(company|companies|owner|investor|developer|operator|manufacturer|parent|sponsor)|기업|회사",
        "party",
        ("text", "choice"),
    ),
    (r"\b(state|province|country|region|nation)\b|국가|지역|시도", "site.place", ("text", "choice")),
    (r"\baddress|location\b|주소", "site.address", ("text", "choice")),
    (r"\b(city|town|locality|county)\b|도시", "site.locality", ("text", "choice")),
    (r"^lat(itude)?$|위도", "site.latitude", ("number", "text")),
    (r"^(lon|lng|long|longitude)$|경도", "site.longitude", ("number", "text")),
    (r"\bpower|capacity.*\bmw\b|\(mw\)|\bmw\b|전력", "site.power_mw", ("number",)),
    (r"\bgpus?\b|\b(number|count) of .*(chips|accelerators)", "site.gpus", ("number",)),
    (r"\bh100", "metric.h100_equivalents", ("number",)),
    (r"\bjobs|employment|고용", "metric.jobs", ("number",)),
    (r"\bannounce|공개일|발표", "effective_on", ("date",)),
    (r"\b(start|operation(s|al)?|completion|online|cod)\b|가동|완공|준공", "milestone.planned", ("date",)),
    (r"\bstatus|stage|phase\b|단계|상태", "status", ("choice", "text")),
    (r"\b(technology|fuel|product)\b|기술", "classifications.technology", ("choice", "text")),
    (r"\b(segment|sector|industry)\b|업종", "classifications.segment", ("choice", "text")),
    (r"\b(project|facility|plant).?type\b", "classifications.project_type", ("choice", "text")),
    (r"\b(url|link|source|website)\b|출처|링크", "source.url", ("url",)),
)
REPEATED = frozenset({"party", "milestone.planned", "source.url"})
"""What a row may state several times. Of amounts, the first is taken: further ones are often parts of it."""
MEANINGS = frozenset({"deal.key", "deal.title", *(meaning for _, meaning, _ in _MEANINGS)})
"""The fields that a column may be guessed to be."""
_REMARK = re.compile(r"\b(notes?|quote|comments?|remarks?|wikidata|ids?)\b|비고|메모", re.IGNORECASE)
"""What a column's name contains that is about another column's value."""
_CONTACT = re.compile(
    r"\b(phone|telephone|tel|mobile|fax|e-?mail|contact|zip|postal|postcode)\b|전화|내선|휴대|팩스|이메일|우편|담당|대표번호",
    re.IGNORECASE,
)
"""What the name of a column contains that says whom to ask, or where post goes: it identifies no deal."""
_OF_COMPANY = re.compile(
    r"\b(company|owner|parent|ticker|isin|lei|duns|tax|vat)\b|사업자|법인|업종|종목|기업", re.IGNORECASE
)
"""What the name of a column contains whose texts identify companies."""
_OF_LIST = re.compile(
    r"^((unique|record|deal|row).?)?(id|key)$|(관리|접수|사업|프로젝트|고유) ?(번호|코드)$", re.IGNORECASE
)
"""The name of a column that identifies the rows of its list."""
KEY = re.compile(r"\b(unique.?)?id$|\bkey\b|\bcode$|번호$|^id\b", re.IGNORECASE)
TITLE = re.compile(r"\b(project|facility|plant|site|name|title|handle|deal)\b|명$|이름", re.IGNORECASE)
DESCRIPTION = re.compile(r"\bdescription\b|설명|내용", re.IGNORECASE)

_FACTORS = (
    (r"조\s?원", "1000000000000", "KRW"),
    (r"억\s?원", "100000000", "KRW"),
    (r"백만\s?원", "1000000", "KRW"),
    (r"만\s?원", "10000", "KRW"),
    (r"백만\s?(달러|불)", "1000000", "USD"),
    (r"억\s?(달러|불)", "100000000", "USD"),
    (r"billion|\bbn\b|\bb\b", "1000000000", None),
    (r"million|\bmn\b|\bm\b", "1000000", None),
    (r"thousand|\bk\b", "1000", None),
)
_CURRENCIES = (
    (r"USD|US\$|\$|달러|불\b", "USD"),
    (r"KRW|₩|원\b", "KRW"),
    (r"EUR|€", "EUR"),
    (r"GBP|£", "GBP"),
    (r"JPY|¥", "JPY"),
)

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
    if _REMARK.search(name) or _CONTACT.search(name):
        return None
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
    if not KEY.search(name) or _CONTACT.search(name) or is_of_company(name):
        return None
    return 0 if _OF_LIST.search(name) else 1 if TITLE.search(name) else 2


def unit_of(name: str) -> tuple[str | None, str | None]:
    """The factor and the currency of a column of amounts, as far as its name says them."""
    factor, currency = next(
        ((factor, currency) for pattern, factor, currency in _FACTORS if re.search(pattern, name, re.IGNORECASE)),
        (None, None),
    )
    named = next((code for pattern, code in _CURRENCIES if re.search(pattern, name, re.IGNORECASE)), None)
    return factor, currency or named


def role_of(name: str) -> str:
    """The role of the organizations in a column of this name."""
    return next((role for word, role in _ROLES.items() if word in name.casefold()), "investor")


def stage_of(text: str) -> str | None:
    """The stage that a text of a sheet may mean; None if none is known."""
    return next((stage for pattern, stage in _STAGES if re.search(pattern, text, re.IGNORECASE)), None)
