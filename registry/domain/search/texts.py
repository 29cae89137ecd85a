"""How search compares a query with a text: words, spelling variants, and parts of words.

A text has terms, a query has tokens, and a token matches a text that has one of its terms. The rules:

- Case, accents and the width of letters do not matter.
- Scripts that put no spaces between words (Hangul, Han, kana): a token matches a part of the text, spaces left out.
- Other scripts: a token matches a word with the same stem or the British or American spelling of it, and a word that
  begins with the token if it has three letters or more. Two neighbouring words also make one word, so that
  "data-center", "datacenter" and "data centre" match each other.
- A token that matches nothing is compared with spelling mistakes, and without a Korean particle at its end.

The columnar copy keeps the terms of all texts (`projections/columnar/search_index.py`). The module is pure.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

from msgspec import Struct
from rapidfuzz import process
from rapidfuzz.distance import OSA

MAX_TOKENS = 12
"""The most words of a query; later ones are left out."""

MAX_TERM = 40
"""The characters of a text without spaces, and of a word, that are compared."""

MIN_BEGINNING = 3
"""The letters of a token that matches the beginning of a word."""

_UNSPACED = "\u1100-\u11ff\u3005\u3040-\u30ff\u3130-\u318f\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORD = re.compile(rf"(?P<unspaced>[{_UNSPACED}]+)|[^\W_{_UNSPACED}]+")
_ASCII_WORD = re.compile("[a-z0-9]+")

_ADDRESS = re.compile(r"https?://\S|www\.\S|[\w-]+(\.[\w-]+)+/\S", re.IGNORECASE)

# Letters that have no accent to take off.
_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe", "ı": "i"})

_PARTICLES = (
    "으로",
    "에서",
    "에게",
    "까지",
    "부터",
    "의",
    "에",
    "을",
    "를",
    "이",
    "가",
    "은",
    "는",
    "로",
    "와",
    "과",
    "도",
)


class Word(Struct, frozen=True):
    """A word of a text: how it is compared, and where it is. `unspaced`: of a script without spaces."""

    text: str
    start: int
    end: int
    unspaced: bool


class Token(Struct, frozen=True):
    """A word of a query.

    Attributes:
        word: The word.
        unspaced: Whether it is of a script without spaces.
        equal: The terms that it matches.
        beginnings: It also matches a term that begins with one of these.
        similar: Words that it matches because it matches nothing as it is written.
        address: The address of a source; such a token matches nothing else.
    """

    word: str
    unspaced: bool
    equal: tuple[str, ...]
    beginnings: tuple[str, ...]
    similar: tuple[str, ...] = ()
    address: str | None = None

    def matches(self, term: str) -> bool:
        """Whether the token matches a term of a text."""
        if term in self.equal or term in self.similar:
            return True
        starts = (*self.beginnings, *self.similar) if self.unspaced else self.beginnings
        return any(term.startswith(beginning) for beginning in starts)


class Search(Struct, frozen=True):
    """What a query searches for at a point in time.

    Attributes:
        tokens: The tokens, all of which a hit matches.
        places: The codes of the places whose names each token matches.
        duplicates, survivors: The merged organizations, and the records that they were merged into.
    """

    tokens: tuple[Token, ...]
    places: tuple[tuple[str, ...], ...] = ()
    duplicates: tuple[str, ...] = ()
    survivors: tuple[str, ...] = ()


def display_form(text: str) -> str:
    """The text as `marks` counts its characters."""
    return unicodedata.normalize("NFC", text)


def words(text: str) -> list[Word]:
    """The words of a line of text in its display form."""
    found = []
    for match in _WORD.finditer(text):
        unspaced = match["unspaced"] is not None
        found.append(Word(_fold(match[0], unspaced), match.start(), match.end(), unspaced))
    return [word for word in found if word.text]


@lru_cache(maxsize=50_000)
def _fold(word: str, unspaced: bool) -> str:
    if unspaced:
        return unicodedata.normalize("NFKC", word)
    letters = unicodedata.normalize("NFKD", word.casefold())
    return "".join(c for c in letters if not unicodedata.combining(c)).casefold().translate(_LETTERS)


# --- stems ------------------------------------------------------------------------------------------------------------

# British and American spelling, at the end of a word without its ending.
_SPELLINGS = (
    (re.compile(r"([tb])re$"), r"\1er"),
    (re.compile(r"([^aeiou])our$"), r"\1or"),
    (re.compile(r"([iy])z(e?)$"), r"\1s\2"),
    (re.compile(r"([iy])z(ation)$"), r"\1s\2"),
    (re.compile(r"ogue$"), "og"),
    (re.compile(r"ence$"), "ense"),
    (re.compile(r"amme$"), "am"),
)
_IRREGULAR = {"aluminium": "aluminum", "grey": "gray", "sulphur": "sulfur", "tonne": "ton"}
_ENDINGS = ("ment", "ing", "ed")
_MIN_STEM = 4


def stem(word: str) -> str:
    """What the forms and spellings of an English word have in common; other words are themselves."""
    if len(word) < _MIN_STEM or not word.isascii() or not word.isalpha():
        return word
    return _stem(word)


@lru_cache(maxsize=50_000)
def _stem(word: str) -> str:
    one = _singular(word)
    one = _IRREGULAR.get(one, one)
    for pattern, spelling in _SPELLINGS:
        one = pattern.sub(spelling, one)
    for ending in _ENDINGS:
        if one.endswith(ending) and len(one) - len(ending) >= _MIN_STEM:
            one = one.removesuffix(ending)
            break
    if len(one) > _MIN_STEM and one[-1] == one[-2] and one[-1] not in "aeiouls":
        one = one[:-1]
    one = re.sub(r"ll$", "l", one) if len(one) > _MIN_STEM else one
    return one.removesuffix("e") if len(one) > _MIN_STEM else one


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    if re.search(r"(ss|ch|sh|x|z)es$", word):
        return word[:-2]
    if word.endswith("s") and not re.search(r"(ss|us|is)$", word):
        return word[:-1]
    return word


# --- texts ------------------------------------------------------------------------------------------------------------


def indexed(text: str) -> tuple[set[str], set[str]]:
    """The terms of a text, and the words of it that a misspelt one is compared with; lines are texts of their own."""
    found: set[str] = set()
    known: set[str] = set()
    for line in display_form(text).splitlines():
        for unspaced, group in _folded(line):
            known.update(word for one in group if _mistakes(word := one[:MAX_TERM]))
            if unspaced:
                squeezed = "".join(group)
                found.update(squeezed[i : i + MAX_TERM] for i in range(len(squeezed)))
            else:
                found.update(word[:MAX_TERM] for word in group)
                found.update(stem(word)[:MAX_TERM] for word in group)
                found.update(_pair(first + second) for first, second in pairwise(group))
    return found, known


def _folded(line: str) -> Iterable[tuple[bool, list[str]]]:
    """The words of a line as they are compared, in groups as `_groups` makes them; whether they are unspaced."""
    if line.isascii():
        group = _ASCII_WORD.findall(line.lower())
        return [(False, group)] if group else []
    return [(group[0].unspaced, [word.text for word in group]) for group in _groups(words(line))]


def _pair(both: str) -> str:
    """The term of two words that follow each other; no word begins like it."""
    return f"+{stem(both)}"[:MAX_TERM]


def _groups(found: Sequence[Word]) -> Iterator[list[Word]]:
    """Words of one kind of script that follow each other."""
    group: list[Word] = []
    for word in found:
        if group and group[-1].unspaced != word.unspaced:
            yield group
            group = []
        group.append(word)
    if group:
        yield group


# --- queries ----------------------------------------------------------------------------------------------------------


def tokens(query: str, *, unfinished: bool = False) -> tuple[Token, ...]:
    """The tokens of a query, each once. With `unfinished`, the last word is still being typed."""
    found: dict[str, Token] = {}
    parts = display_form(query).split()
    for part in parts[:MAX_TOKENS]:
        if _ADDRESS.match(part):
            found[part] = Token(part, unspaced=False, equal=(), beginnings=(), address=part)
    listed = words(" ".join(part for part in parts if part not in found))[: MAX_TOKENS - len(found)]
    for number, word in enumerate(listed):
        cut = word.text[:MAX_TERM]
        if word.unspaced:
            found[cut] = Token(cut, unspaced=True, equal=(cut,), beginnings=(cut,))
            continue
        equal = {cut, stem(word.text)[:MAX_TERM], _pair(word.text)}
        for first, second in ((number - 1, number), (number, number + 1)):
            if first >= 0 and second < len(listed) and not (listed[first].unspaced or listed[second].unspaced):
                both = listed[first].text + listed[second].text
                equal |= {both[:MAX_TERM], stem(both)[:MAX_TERM]}
        is_beginning = len(cut) >= MIN_BEGINNING or (unfinished and number == len(listed) - 1)
        found[cut] = Token(cut, unspaced=False, equal=tuple(sorted(equal)), beginnings=(cut,) if is_beginning else ())
    return tuple(found.values())


def similar_words(token: Token, known: Iterable[str]) -> tuple[str, ...]:
    """What a token that matches nothing may have meant: known words with few mistakes, or itself without a particle."""
    found: set[str] = set()
    if token.unspaced:
        found |= {
            token.word.removesuffix(particle)
            for particle in _PARTICLES
            if token.word.endswith(particle) and len(token.word) - len(particle) >= 2
        }
    mistakes = _mistakes(token.word)
    if mistakes:
        choices = [word for word in known if _is_unspaced(word) == token.unspaced]
        spelled = [_letters(word) for word in choices]
        close = process.extract(_letters(token.word), spelled, scorer=OSA.distance, score_cutoff=mistakes, limit=None)
        found |= {choices[place] for _, _, place in close}
    return tuple(sorted(found))


def _mistakes(word: str) -> int:
    """How many letters of a word may be wrong, missing, too many or exchanged: none in short words and numbers."""
    if not word.isalpha():
        return 0
    letters = len(_letters(word))
    return 0 if letters < 4 else 1 if letters < 8 else 2


def _is_unspaced(word: str) -> bool:
    return re.match(f"[{_UNSPACED}]", word) is not None


def _letters(word: str) -> str:
    """The word letter by letter: a syllable of Hangul has two or three."""
    return unicodedata.normalize("NFD", word)


# --- marks ------------------------------------------------------------------------------------------------------------


def marks(text: str, found: Sequence[Token]) -> list[tuple[int, int]]:
    """Where tokens match a text in its display form: ranges of characters, in order, without overlaps."""
    spans: list[tuple[int, int]] = []
    start = 0
    for line in text.splitlines(keepends=True):
        for group in _groups(words(line)):
            spans += [
                (start + first, start + last)
                for first, last in (_unspaced_marks(group, found) if group[0].unspaced else _word_marks(group, found))
            ]
        start += len(line)
    merged: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def _word_marks(group: Sequence[Word], found: Sequence[Token]) -> Iterator[tuple[int, int]]:
    for word in group:
        if any(token.matches(form[:MAX_TERM]) for token in found for form in (word.text, stem(word.text))):
            yield word.start, word.end
    for first, second in pairwise(group):
        pair = _pair(first.text + second.text)
        if any(token.matches(pair) for token in found):
            yield first.start, second.end


def _unspaced_marks(group: Sequence[Word], found: Sequence[Token]) -> Iterator[tuple[int, int]]:
    squeezed = "".join(word.text for word in group)
    # A compatibility letter may be several letters once it is folded: then the whole word is marked.
    places = [
        (word.start + i, word.start + i + 1) if len(word.text) == word.end - word.start else (word.start, word.end)
        for word in group
        for i in range(len(word.text))
    ]
    for token in found:
        for part in {token.word, *token.similar}:
            at = squeezed.find(part)
            while at >= 0:
                yield places[at][0], places[at + len(part) - 1][1]
                at = squeezed.find(part, at + 1)
