"""Korean particles after a value: a catalogue writes both forms, as in "%(name)s을(를)", and the value decides.

Which form is right depends on whether the last syllable ends in a consonant. That is known for Hangul and digits. How a
word in other letters is pronounced is not, so both forms stay there, which is correct Korean too.
"""

from __future__ import annotations

import re

_FORMS = {
    "을(를)": ("을", "를"), "은(는)": ("은", "는"), "이(가)": ("이", "가"), "와(과)": ("과", "와"),
    "(으)로": ("으로", "로"), "(이)라": ("이라", "라"),
}  # fmt: skip
_BOTH = re.compile(rf"""([가-힣0-9])([’'”")\]]*)({"|".join(map(re.escape, _FORMS))})""")

_SYLLABLES = ord("가")
_FINALS = 28
_RIEUL = 8
# The final consonants of 영, 일, 이, 삼, 사, 오, 육, 칠, 팔, 구, by their number in Unicode; 0: none.
_OF_DIGITS = (21, 8, 0, 16, 0, 0, 1, 8, 8, 0)


def choose_particles(text: str) -> str:
    """The text with the particle that is right after each Hangul syllable or digit."""
    return _BOTH.sub(_chosen, text) if "(" in text else text


def _chosen(found: re.Match[str]) -> str:
    last, closing, both = found.groups()
    final = _OF_DIGITS[int(last)] if last.isascii() else (ord(last) - _SYLLABLES) % _FINALS
    # "-로" also follows ㄹ: "서울로".
    after_consonant = final != 0 and not (both == "(으)로" and final == _RIEUL)
    return f"{last}{closing}{_FORMS[both][0 if after_consonant else 1]}"
