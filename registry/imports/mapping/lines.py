"""The line of each key of a TOML file, for messages: the standard library's parser does not report lines."""

from __future__ import annotations

import re

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]")
_KEY = re.compile(r"\s*([A-Za-z0-9_.\-]+|\"[^\"]+\")\s*=")


def lines_of(text: str) -> dict[str, int]:
    """The first line of each table and key, by its path: `pledge[0].amount`."""
    lines: dict[str, int] = {}
    counts: dict[str, int] = {}
    prefix = ""
    for number, line in enumerate(text.splitlines(), 1):
        if match := _HEADER.match(line):
            prefix = match[2].replace('"', "")
            if match[1] == "[[":
                counts[prefix] = counts.get(prefix, -1) + 1
                prefix = f"{prefix}[{counts[prefix]}]"
            elif (outer := prefix.partition("."))[0] in counts:
                prefix = f"{outer[0]}[{counts[outer[0]]}].{outer[2]}"
            lines.setdefault(prefix, number)
        elif match := _KEY.match(line):
            path = match[1].strip('"')
            lines.setdefault(f"{prefix}.{path}" if prefix else path, number)
    return lines


def line_of(lines: dict[str, int], path: str) -> int:
    """The line of a path, or of the nearest table around it; 1 if there is none."""
    while path:
        for place in (path, f"{path}[0]"):
            if place in lines:
                return lines[place]
        path = path.rpartition(".")[0]
    return 1
