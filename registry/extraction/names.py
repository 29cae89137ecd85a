"""The organizations in a sentence: those that the registry knows, by any name, and those that the text introduces."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct

Part = Literal["subject", "partner", "mentioned"]


class KnownOrganization(Struct, frozen=True):
    """An organization of the registry with all its names."""

    slug: str
    names: tuple[str, ...]


class FoundOrganization(Struct, frozen=True):
    """An organization in a sentence.

    Attributes:
        slug: Its slug; of a new one, a proposal made from its Latin name.
        names: The names that the sentence uses, by language.
        is_known: Whether the registry has it.
        part: Whether the sentence is about it, names it as a partner, or only mentions it.
        start: Where its name starts.
        end: Where its name and the parentheses after it end.
    """

    slug: str
    names: dict[str, str]
    is_known: bool
    part: Part
    start: int
    end: int


# A Korean name with its Latin one in parentheses: 앰코테크놀로지(Amkor Technology), 블랙록(BlackRock).
_INTRODUCED = re.compile(
    r"((?:[가-힣0-9]+ )?[가-힣A-Za-z0-9&·]+)\(([A-Z][A-Za-z&.\-]*(?: [A-Z&][A-Za-z&.\-]*)*)(?:, [A-Z]+)?\)"
)
_CORPORATE = (
    r"(?:Inc|Corp|Corporation|Ltd|Limited|LLC|PLC|Group|Holdings|Technologies|Technology|"
    r"Electronics|Energy|Motor|Motors|Chemical|Materials|Semiconductor)"
)
_ENGLISH_NAME = re.compile(
    rf"\b((?:[A-Z][A-Za-z0-9&\-]+ ){{0,3}}(?:[A-Z][A-Za-z0-9&\-]+ {_CORPORATE}\.?|[A-Z][a-z]+[A-Z][A-Za-z]+))\b"
)
# A Korean name that is the subject of an investment: ㈜조은산업은 …. Only in a sentence that invests, because
# any noun can be a subject.
_KOREAN_SUBJECT = re.compile(
    r"(?:\(주\)|\(유\)|㈜|주식회사 )?((?:[A-Z]{2,5}(?: |"
    r"(?=[가-힣])))?[가-힣A-Za-z0-9&·]{2,20}?)(?:\(주\)|\(유\)|㈜)?"
    r"(?:\((?:대표|회장|사장)[^()]{1,20}\))?(?:은|는|이|가|도)(?= )"
)
_COMMON = re.compile(
    r"(?:정부|당국|업계|회사|기업|기업들|업체|그룹|측|관계자|대표|회장|사장|장관|도지사|지사|시장|"
    r"대통령|총리|투자|사업|시설|공장|센터|단지|"
    r"프로젝트|협약|협력|계획|규모|지역|시장|국내|이상|이하|이내|"
    r"(?:^.{0,3})(?:산업|기술)|국내|한국|미국|중국|일본|이들|이번|이곳|"
    r"여기|이를|양사|양측|우리|올해|내년|지난해|"
    r"그는|이는|것|수|등|명|개사|곳|행사|데이터|기관|위원회|부지|생산|고용|인력|비용|금액|효과|"
    r"의원|군수|구청장|모두|각각|또|하|들|에서|부문|으로|에는|에|으로서)$"
)
_ACTS = re.compile(
    r"투자(?:해|하|한|할|를|와|키로|에 나)|공사에 착수|원(?:을|씩)?$|들여|투입|"
    r"(?:공장|센터|시설|라인)(?:을|를) [가-힣 ]{0,12}(?:짓|"
    r"신설|증설|구축|건립|건설|설립|이전|옮)|착공|신설|증설"
)

# The subject of an English sentence that invests: "Tyson Foods, one of …, has opened a $300 million …".
_ENGLISH_SUBJECT = re.compile(
    r"^(?:[^–—]{3,60} [–—-] ?){0,2}"
    # A governor announces the investment of a company.
    r"(?:(?:Governor|Gov\.|Mayor) [A-Z][A-Za-z. ]{2,40}? (?:today )?announced (?:today )?(?:that )?)?"
    r"(?:[^,.]{0,60}, (?!Inc|Ltd|LLC|Corp))?(?:(?:the )?(?:[a-z][a-z\-]+ ){1,5})?"
    # "South Korean company SK …", "Auto manufacturers Toyota …", "Elon Musk’s xAI …"
    r"(?:(?:[A-Z][a-z]+ ){0,2}(?:[a-z\-]+ ){0,3}"
    r"(?:company|firm|giant|manufacturers?|makers?|multinational|start-?up|developer) )?"
    r"(?:[A-Z][a-z]+(?: [A-Z][a-z]+)?[’']s (?=[a-z]{0,2}[A-Z]))?"
    r"((?:[a-z]{0,2}[A-Z][A-Za-z0-9&.’'\-]*|"
    r"of|and|&)(?: (?:[A-Z][A-Za-z0-9&.\-]*|of|&))*(?:,? (?:Inc|Ltd|LLC|Corp|Co\., Ltd)\.?)?)(?: \([A-Za-z&.]{2,20}\))?"
    # An apposition, which may be a list: "…, the joint venture between A, B, and C, has signed".
    r"(?=(?:,[^,]{3,90},(?: in [^,]{2,30},)?|, (?:an?|the|one) .{3,150}?,)? "
    r"(?:(?:also|has|have|officially|recently|reportedly|currently|now|today|yesterday|formally|selected|is|are|"
    r"significantly) )*"
    r"(?:announced|announces|(?:increas|add|rais|boost|doubl)ing|investing|"
    r"will (?:invest|build|open|spend|construct|expand|create|establish|locate)|"
    r"building|constructing|planning|expanding|in the midst|broken ground|increased|raised|"
    r"plans? to|opened|selected|invested|broke ground|committed|"
    r"pledged|unveiled|signed|to invest|said it))"
)

_LEGAL_FORM = re.compile(r",? (?:Inc|Ltd|LLC|Corp|Co\., Ltd)$")

# Abbreviations and common words that the parentheses may hold instead of a name.
_NO_NAMES = frozenset(
    {"AI", "IT", "GPU", "MW", "GW", "LLM", "JV", "OSAT", "CEO", "MOU", "LOI", "ESG", "R&D", "IDC", "HBM", "ESS"}
)
_SUBJECT = re.compile(r"(?: ?측)?(?:은|는|이|가|도)(?=[ ,]|$)")
_PARTNER = re.compile(r"(?:와|과|및|·|,)(?=\s|[가-힣A-Z])")
_BY = re.compile(r"(?:와|과) (?:함께|협력|손잡|공동|합작|협약)")


def slug_of(name: str) -> str:
    """A slug made from a Latin name; empty if it has no Latin letters."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:80]


class OrganizationFinder:
    """Finds organizations by their names, the longest name first."""

    def __init__(self, known: Iterable[KnownOrganization]) -> None:
        self._slugs = {
            name: one.slug for one in known for name in one.names if len(name) >= 2 and name not in _NO_NAMES
        }
        names = sorted(self._slugs, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(_bounded, names))) if names else None

    def find(self, sentence: str, context: str = "") -> list[FoundOrganization]:
        """The organizations of a sentence, or of a clause of the sentence `context`, in its order, each once."""
        found = [*self._known(sentence), *_introduced(sentence), *_english(sentence), *_english_subject(sentence)]
        subjects = [one.start for one in found if one.part == "subject"]
        found += (
            _beside(sentence, subjects) if subjects else _korean_subject(sentence, context) or _signatories(sentence)
        )
        found.sort(key=lambda one: (one.start, not one.is_known, one.start - one.end, one.part != "subject"))
        kept: list[FoundOrganization] = []
        for one in found:
            if any(one.start < other.end and other.start < one.end for other in kept):
                continue
            if not any(one.slug == other.slug for other in kept):
                kept.append(one)
        return kept

    def _known(self, sentence: str) -> Iterable[FoundOrganization]:
        for match in self._pattern.finditer(sentence) if self._pattern else ():
            end = match.end()
            if parentheses := re.match(r" ?\([A-Za-z가-힣&.,\- ]{2,60}\)", sentence[end:]):
                end += parentheses.end()
            names = {"en" if match[0].isascii() else "ko": match[0]}
            yield FoundOrganization(
                self._slugs[match[0]], names, True, _part(sentence, match.start(), end), match.start(), end
            )


# What may follow a Latin name without a space: particles, and words like "side" or "company". "SK텔레콤" is not SK.
_AFTER_LATIN = (
    r"(?![A-Za-z0-9])(?=[^가-힣]|$|(?:[은는이가을를와과의에도로만측등사및]|에서|에게|으로|로부터|에는|에도|까지|부터|"
    r"보다|이나|이라|라고|코리아|그룹)+(?:[^가-힣]|$))"
)


def _bounded(name: str) -> str:
    """A name as a pattern: it is not the end of a longer word, nor, in Latin letters, the beginning of one."""
    after = _AFTER_LATIN if name[-1].isascii() else ""
    return rf"(?<![A-Za-z0-9가-힣]){re.escape(name)}{after}"


def _introduced(sentence: str) -> Iterable[FoundOrganization]:
    for match in _INTRODUCED.finditer(sentence):
        latin = match[2]
        if latin in _NO_NAMES or latin.isupper() or not slug_of(latin):
            continue
        korean = _own_words(match[1], len(latin.split()))
        start = match.end(1) - len(korean)
        part = _part(sentence, start, match.end())
        yield FoundOrganization(slug_of(latin), {"ko": korean, "en": latin}, False, part, start, match.end())


def _own_words(words: str, count: int) -> str:
    """The last words of a text: as many as the Latin name has, without what describes the company."""
    parts = words.split(" ")
    if count < 2 or re.search(r"(?:의|은|는|이|가|을|를|로|기업|회사|운용사|업체|투자사인?|그룹)$", parts[0]):
        return parts[-1]
    return words


def _korean_subject(sentence: str, context: str) -> list[FoundOrganization]:
    """The subjects of a clause that invests, if the registry does not know them.

    The slug of each is its name in Latin letters. Where only another clause of the sentence `context` invests, the
    subject is one that is marked as a company: "㈜조은산업은 공장을 옮기기로 하고, 135억 원을 투자한다".
    """
    acts = _ACTS.search(sentence) is not None
    if not acts and not _ACTS.search(context):
        return []
    for match in _KOREAN_SUBJECT.finditer(sentence):
        name = match[1]
        is_marked = not match[0].startswith(name) or "㈜" in match[0] or _is_proper(name, sentence[: match.start()])
        if not acts and not ("㈜" in match[0] or not match[0].startswith(name)):
            continue
        if not is_marked and (_is_verb(name) or _COMMON.search(name) or _PUBLIC_BODY.fullmatch(name)):
            continue
        if _PROVINCE.match(sentence, match.start(1)):
            continue
        # "LG화학과 절강화유코발트는": both invest, and the first one leads.
        first = _BESIDE.search(sentence[: match.start()])
        places = [(first.start(1), first[1])] if first is not None else []
        joined = re.finditer(r"[^·ㆍ]+", name)
        return _unknown([*places, *((match.start(1) + one.start(), one[0]) for one in joined)], "subject")
    return []


def _beside(sentence: str, subjects: Iterable[int]) -> list[FoundOrganization]:
    """The companies before known ones that they act with: "해솔통신과 AWS는 …"."""
    matches = [first for start in subjects if (first := _BESIDE.search(sentence[:start])) is not None]
    names = [(first.start(1), first[1]) for first in matches]
    return _unknown([one for one in names if not (_COMMON.search(one[1]) or _PUBLIC_BODY.fullmatch(one[1]))], "partner")


def _signatories(sentence: str) -> list[FoundOrganization]:
    """The companies with which a public body signs: it is no investor, so the first of them leads."""
    if not _SIGNED.search(sentence):
        return []
    marked = [(one.start(one.lastindex or 0), one[one.lastindex or 0]) for one in _MARKED.finditer(sentence)]
    listed = _SIGNED_WITH.search(sentence)
    if not marked and listed is not None and not _SEVERAL.search(sentence):
        names = [(listed.start(1) + one.start(), one[0]) for one in re.finditer(r"[^·ㆍ ]+", listed[1])]
        marked = [(start, name) for start, name in names if _is_proper(name, "") or not _COMMON.search(name)]
    return _unknown([(start, name) for start, name in marked if not _PUBLIC_BODY.fullmatch(name)], "subject")


def _unknown(names: Iterable[tuple[int, str]], part: Part) -> list[FoundOrganization]:
    """Organizations that the registry does not know, by where their names start: the first leads, others partner."""
    found: list[FoundOrganization] = []
    for start, name in names:
        if slug := slug_of(romanized(name)):
            own = part if not found else "partner"
            found.append(FoundOrganization(slug, {"ko": name}, False, own, start, start + len(name)))
    return found


_BESIDE = re.compile(r"([가-힣A-Za-z0-9&]{2,20})(?:와|과) (?:㈜|\(주\))?$")

# Provinces, cities, counties and authorities: they invite investments, and sign with those who make them.
_PUBLIC_BODY = re.compile(
    r"(?:[가-힣]{1,8}(?:[도시군구청부]|공사|공단|자치도|광역시|특별시|위원회|의회|자유구역청)|도|시|군|구)"
)

# "전라북도" is no 전라북 with the particle 도.
_PROVINCE = re.compile(r"(?:경기|강원|충청[남북]|전라[남북]|경상[남북]|제주|충[남북]|전[남북]|경[남북])도(?= )")

# A company that is marked as one: ㈜가나다, 가나다㈜.
_MARKED = re.compile(
    r"(?:㈜|\(주\)) ?([가-힣A-Za-z0-9&]{2,20}?)(?=[·ㆍ,) ]|와|과|$)|([가-힣A-Za-z0-9&]{2,20})(?:㈜|\(주\))"
)

_SIGNED = re.compile(r"협약.{0,30}체결")

# "… LG화학·절강화유코발트와 … 투자협약을 체결": the names before the agreement.
_SIGNED_WITH = re.compile(
    r"((?:[가-힣A-Za-z0-9&]{2,20}[·ㆍ] ?){0,8}[가-힣A-Za-z0-9&]{2,20}?)(?:와|과) (?:[^.]{0,60} )?[^. ]{0,12}협약"
)

# What a text says of a company before its name: 제조업체인 한황산업은.
_DESCRIBED = re.compile(r"(?:업체|기업|회사)(?:인)? $")


def _is_proper(name: str, before: str) -> bool:
    """Whether a name that ends like a common word is a name: it begins in Latin letters, or is called a company."""
    latin = re.match(r"[A-Z]{2,5}", name)
    return (latin is not None and latin[0] not in _NO_NAMES) or _DESCRIBED.search(before) is not None


# Several companies with a project each: the sentence tells of none.
_SEVERAL = re.compile(r"[0-9]+ ?개 ?(?:사|기업|업체)")


def _is_verb(word: str) -> bool:
    """Whether a word before 은/는/이/가 is a verb or a number, not a name."""
    return re.fullmatch(r"[0-9].*|.*(?:하|되|있|없|않|던|된|한|할|될|인|및|들어서|나서|이르|따르)", word) is not None


def _english_subject(sentence: str) -> Iterable[FoundOrganization]:
    match = _ENGLISH_SUBJECT.search(sentence)
    if match is None:
        return
    name = re.sub(r"^(?:The|A|An|This|That|But|And) ", "", match[1]).rstrip(",. ")
    name = _LEGAL_FORM.sub("", name)
    if slug_of(name) and name.split()[0] not in _ENGLISH_COMMON:
        start = match.start(1) + match[1].index(name)
        yield FoundOrganization(slug_of(name), {"en": name}, False, "subject", start, start + len(name))


_ENGLISH_COMMON = frozenset(
    {
        "The",
        "It",
        "They",
        "He",
        "She",
        "We",
        "Governor",
        "Gov",
        "President",
        "Mayor",
        "Minister",
        "State",
        "Company",
        "Officials",
        "Investors",
    }
)

# The Revised Romanization of Korean by syllable, without the sound changes between syllables: for slugs only.
_INITIALS = ("g", "kk", "n", "d", "tt", "r", "m", "b", "pp", "s", "ss", "", "j", "jj", "ch", "k", "t", "p", "h")
_VOWELS = (
    *(
        "a",
        "ae",
        "ya",
        "yae",
        "eo",
        "e",
        "yeo",
        "ye",
        "o",
        "wa",
        "wae",
        "oe",
        "yo",
        "u",
        "wo",
        "we",
        "wi",
        "yu",
        "eu",
        "ui",
        "i",
    ),
)
_FINALS = (
    *("", "k", "k", "k", "n", "n", "n", "t", "l", "k", "m", "l", "l", "l", "p", "l", "m", "p", "p", "t", "t", "ng"),
    *("t", "t", "k", "t", "p", "t"),
)


def romanized(text: str) -> str:
    """A Korean text in Latin letters, syllable by syllable."""
    letters = []
    for sign in text:
        code = ord(sign) - 0xAC00
        if 0 <= code < 11172:
            letters.append(_INITIALS[code // 588] + _VOWELS[code % 588 // 28] + _FINALS[code % 28])
        else:
            letters.append(sign)
    return "".join(letters)


def _english(sentence: str) -> Iterable[FoundOrganization]:
    if any("가" <= c <= "힣" for c in sentence):
        return
    for match in _ENGLISH_NAME.finditer(sentence):
        whole = re.sub(r"^(?:The|A|An|And|But|In|For|With|By|On) ", "", match[1]).rstrip(".")
        name = _LEGAL_FORM.sub("", whole)
        if slug_of(name) and name.split()[0] not in _ENGLISH_COMMON:
            start = match.end(1) - len(match[1]) + match[1].index(whole)
            yield FoundOrganization(
                slug_of(name), {"en": name}, False, _part(sentence, start, match.end()), start, match.end()
            )


def _part(sentence: str, start: int, end: int) -> Part:
    """What an organization is in a sentence, by the particle after it, or in English by its place and preposition."""
    after = sentence[end:]
    if any("가" <= c <= "힣" for c in sentence):
        if _SUBJECT.match(after):
            return "subject"
        return "partner" if _BY.match(after) or _PARTNER.match(after) else "mentioned"
    if re.search(r"\b(?:with|and|alongside|between)\s+(?:the\s+)?$", sentence[:start]):
        return "partner"
    is_acting = re.match(
        r"(?:'s|’s)?[ ,]+(?:[A-Za-z]+ ){0,4}?(?:will|plans?|said|says|announced|has|have|is|are|to|"
        r"intends?|agreed|signed|broke|unveiled|committed|pledged|expects?|would)\b",
        after,
    )
    return "subject" if is_acting else "mentioned"


def leading(found: Sequence[FoundOrganization]) -> FoundOrganization | None:
    """The organization that a sentence is about: its first subject."""
    return next((one for one in found if one.part == "subject"), None)
