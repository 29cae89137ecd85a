"""The sentences that the registry says in English, by which the pages say them in the reader's language.

Flags, refusals, faults and verdicts are sentences of the JSON, which speaks English. Each stands here once, as a
message of the catalogue, with what varies in it by name: a sentence that fits one is said in the catalogue's words,
and one that fits none stays as it is. What varies says its kind by its name (`shown.py`). Decides nothing.
"""

from __future__ import annotations

import re
from functools import cache

from registry.web.i18n import N_

LONGEST = 1_000
"""What is longer than a sentence is not looked at."""

# Where two fit a sentence, the first is taken: the more particular one stands before the other.
SENTENCES = (
    # what a proof shows, and what is wrong with one
    N_("%(type)s, version %(version)s of %(stream)s, is the log's event %(position)s; and this is what was said"),
    N_(
        "%(type)s, version %(version)s of %(stream)s, is the log's event %(position)s; its content is not"
        " in this bundle"
    ),
    N_("Log verification failed: %(detail)s"),
    N_("The checkpoint does not verify: %(detail)s"),
    N_("The proof does not verify: %(detail)s"),
    N_("The tile cannot be read: %(why)s"),
    N_("%(tile)s is missing in the database."),
    N_("the bundle has no checkpoint: nobody has signed the tree that it leads to."),
    N_("its size and root are not those of its checkpoint."),
    N_("its leaf hash is not that of its entry."),
    N_("position %(position)s: its content is not the one that its entry commits to."),
    N_("position %(position)s: of its content and its salt one is missing."),
    N_("position %(position)s: its entry cannot be read (%(raw)s)."),
    N_("it is not UTF-8."),
    N_("it has control characters or more than %(size)s bytes."),
    N_("it has no signatures, each on its own line after the last empty one."),
    N_("it has more than %(size)s signatures."),
    N_("a line after the last empty one is not a signature."),
    N_("the signature of %(name)s is not over this text."),
    N_("none of the known keys has signed it."),
    N_("its origin and its extensions are lines, and none is empty."),
    N_("its size is no count of leaves, or its root no SHA-256 hash."),
    N_("a tree of 0 leaves has another root."),
    N_("its lines are not an origin, a size and a root."),
    N_("it is of %(origin)s, and signed by the key of %(name)s."),
    N_("leaf %(position)s does not lie in a tree of %(size)s leaves."),
    N_("leaf %(position)s leads to another root than that of the tree of %(size)s leaves."),
    N_("it has %(size)s siblings, which is too many."),
    N_("it has %(size)s siblings, which is too few."),
    N_("a SHA-256 hash has %(size)s bytes, and one of these has not."),
)


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    # Splitting at the placeholders leaves their names at every other place.
    parts = ((message, re.split(r"%\((\w+)\)s", message)) for message in SENTENCES)
    return tuple(
        (message, re.compile("".join(f"(?P<{p}>.+?)" if i % 2 else re.escape(p) for i, p in enumerate(split))))
        for message, split in parts
    )


def message_of(sentence: str) -> tuple[str, dict[str, str]] | None:
    """The catalogue's message that a sentence is, and what varies in it; None for one that is not known."""
    if len(sentence) > LONGEST:
        return None
    found = ((message, pattern.fullmatch(sentence)) for message, pattern in _patterns())
    return next(((message, match.groupdict()) for message, match in found if match), None)
