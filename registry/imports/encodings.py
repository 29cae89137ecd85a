"""Finds out how the text of a CSV file is encoded. Files are decoded in parts, so memory does not grow with them."""

from __future__ import annotations

import codecs
from collections import Counter
from pathlib import Path

from registry.errors import UnreadableSheet
from registry.imports.messages import ImportText

ENCODINGS = {
    "utf-8": "utf-8-sig",
    "utf-16": "utf-16",
    "cp949": "cp949",
    **{f"windows-{page}": f"cp{page}" for page in (1250, 1251, 1252, 1253, 1254, 1257)},
    "iso-8859-1": "iso8859-1",
    "iso-8859-2": "iso8859-2",
    "iso-8859-15": "iso8859-15",
    "shift_jis": "cp932",
    "gb18030": "gb18030",
    "big5": "cp950",
}
"""The encodings that a mapping and the command can name, with Python's names."""

PART_BYTES = 64 * 1024


def encoding_of(path: Path, named: str | None = None) -> str:
    """The encoding of a file, which decodes all of it.

    UTF-16 has a byte order mark. Files in Windows-1252 often decode as CP949 by chance: the apostrophe and the `s` of
    `Micron’s` become one rare syllable. So CP949 is assumed only if most characters beyond ASCII are syllables of
    KS X 1001, which nearly all of Korean text consists of, and neither of whose two bytes is ASCII.

    Args:
        path: The file.
        named: The encoding that an editor named.

    Raises:
        UnreadableSheet: The file does not decode, or none was named and none can be assumed.
    """
    with path.open("rb") as file:
        start = file.read(2)
    is_utf_16 = start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    encoding = named or ("utf-16" if is_utf_16 else "utf-8")
    wrong = _first_undecodable_byte(path, encoding)
    if wrong is None:
        return encoding
    if named or is_utf_16:
        raise UnreadableSheet(
            file=path.name, why=ImportText("not-in-encoding", position=wrong, encoding=encoding.upper())
        )
    characters: Counter[str] = Counter()
    if _first_undecodable_byte(path, "cp949", characters) is None and _is_korean(characters):
        return "cp949"
    raise UnreadableSheet(file=path.name, why=ImportText("encoding-unknown", position=wrong))


def _first_undecodable_byte(path: Path, encoding: str, characters: Counter[str] | None = None) -> int | None:
    """The position of the first byte that does not decode; None if all do. Characters are counted if asked."""
    decoder = codecs.getincrementaldecoder(ENCODINGS[encoding])()
    position = 0
    with path.open("rb") as file:
        while True:
            part = file.read(PART_BYTES)
            pending = len(decoder.getstate()[0])
            try:
                text = decoder.decode(part, final=not part)
            except UnicodeDecodeError as error:
                return position - pending + error.start
            if characters is not None:
                characters.update(text)
            if not part:
                return None
            position += len(part)


def _is_korean(characters: Counter[str]) -> bool:
    beyond_ascii = {char: count for char, count in characters.items() if not char.isascii()}
    syllables = sum(
        count for char, count in beyond_ascii.items() if "가" <= char <= "힣" and min(char.encode("cp949")) >= 0xA1
    )
    return 2 * syllables > sum(beyond_ascii.values())
