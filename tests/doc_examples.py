"""Runs the examples of a document: every block marked `console`, command by command, against a running service.

A block is read as a terminal: a line that begins with `$ ` is a command, lines that begin with `> ` go on with it, and
what follows is what it prints. `…` stands there for any text within a line, a line of `…` alone for any lines; so is
left out what is different at every run, such as instants.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path

from msgspec import Struct

from tests.preloaded import preloaded

ROOT = Path(__file__).parent.parent
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Example(Struct, frozen=True):
    """A command of a document, the line it stands on, and what the document says that it prints."""

    document: str
    line: int
    command: str
    output: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def examples(document: Path) -> Iterator[Example]:
    """The commands of a document, in order."""
    text = document.read_text()
    for block in _BLOCK.finditer(text):
        line = text.count("\n", 0, block.start(1)) + 1
        for part in re.split(r"^(?=\$ )", block.group(1), flags=re.MULTILINE):
            if part.startswith("$ "):
                lines = part.splitlines(keepends=True)
                more = list(takewhile(lambda each: each.startswith("> "), lines[1:]))
                command = "".join(each[2:] for each in (lines[0], *more))
                yield Example(document.name, line, command, "".join(lines[1 + len(more) :]))
            line += part.count("\n")


async def run(example: Example, environment: Mapping[str, str]) -> str:
    """What the command prints on standard output and standard error, in the project's folder."""
    preload = preloaded()
    path = f"{preload['PATH']}:{ROOT / 'tests' / 'standins'}"
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        example.command,
        cwd=ROOT,
        env={**os.environ, **preload, **environment, "PATH": path},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    return printed.decode()


def matches(printed: str, expected: str) -> bool:
    """Whether what was printed is what the document says, trailing blanks aside."""
    lines = [re.escape(line.rstrip()).replace("…", ".*") for line in expected.rstrip("\n").split("\n")]
    pattern = "\n".join(r"(?:.*\n)*?.*" if line == ".*" else line for line in lines)
    return re.fullmatch(pattern, "\n".join(line.rstrip() for line in printed.rstrip("\n").split("\n"))) is not None
