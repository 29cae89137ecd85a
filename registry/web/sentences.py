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
    N_("The log is not what it was: %(detail)s"),
    N_("The checkpoint does not hold: %(detail)s"),
    N_("The proof does not hold: %(detail)s"),
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
    N_("No checkpoint can be signed now, and the operator's log says why: try again later."),
    N_("Position %(position)s does not lie in a tree of %(size)s leaves."),
    # what is wrong with a field
    N_("is missing"),
    N_("is missing: from which day is it so in the world? (a whole date)"),
    N_("is missing: give value, or low and high, or the wording; leave the whole amount out if none was stated"),
    N_("is the registry's to fill in: leave it out"),
    N_("replaces nothing: give effective_on, sources or event"),
    N_("may be null only where the event is the record's own"),
    N_("names nobody: give at least a publisher, url, title or locator"),
    N_("'%(text)s' is no address: check its host"),
    N_("names a user, perhaps with a password: leave out what stands before the host, up to '@'"),
    N_("%(day)s lies outside of the years %(year)s to %(other_year)s"),
    N_("lies before 'from'"),
    N_("'%(identifier)s' is no valid %(scheme)s: check its digits"),
    N_("has %(size)s entries: %(limit)s at most"),
    N_("is less than low"),
    N_("is less than value"),
    N_("states one currency twice"),
    N_("'%(text)s' ends before it begins"),
    N_("'%(text)s' is no date in EDTF level 0 or 1, such as 2031, 2027-11 or 2025-07/2025-09"),
    N_("'%(text)s' is no ISO 3166 country or subdivision"),
    N_("lies beyond ±90 degrees"),
    N_("lies beyond ±180 degrees"),
    N_("names neither DEAL nor DEAL/PLEDGE"),
    N_("stands at %(raw)s already: an id names one event"),
    N_("%(text)s is no ISO 4217 currency"),
    N_("%(text)s is none of %(known)s"),
    N_("does not fit: A name in lower-case letters, digits and hyphens. Such as aws-korea-2031."),
    N_("does not fit: One line of text."),
    N_("does not fit: Text; line breaks are allowed."),
    N_("does not fit: An http(s) address."),
    N_("does not fit: An exact, non-negative decimal, written as a string. Such as 5000000000."),
    N_("does not fit: Decimal degrees (WGS 84), as a string."),
    N_("does not fit: A date as loosely as its source gave it: EDTF (ISO 8601-2) level 0 or 1. Such as 2031."),
    N_("does not fit: An ISO 3166-1 alpha-2 country or ISO 3166-2 subdivision. Such as KR-31."),
    N_("does not fit: A BCP 47 language tag."),
    N_("does not fit: `sha256:` and 64 hex digits."),
    N_(
        "does not fit: A field of the deal's state: the list, the thing's id, the field. Such as /pledges/total/amount."
    ),
    N_("there is no event type '%(text)s'"),
    N_("there is no event type '%(text)s'; is '%(near)s' meant?"),
    N_("there is no field '%(text)s'"),
    N_("there is no field '%(text)s'; is '%(near)s' meant?"),
    N_("expected `str` of length >= %(size)s"),
    N_("expected `str` of length <= %(size)s"),
    N_("expected `array` of length >= %(size)s"),
    N_("expected `array` of length <= %(size)s"),
    N_("expected `int` >= %(size)s"),
    N_("expected `int` <= %(size)s"),
    N_("expected `int`, got `str`"),
    N_("expected `%(one)s`, got `%(two)s`"),
    N_("invalid RFC3339 encoded date"),
    N_("invalid UUID"),
    N_("choose what happened"),
    N_("the list is empty: give at least one announcement"),
    N_("'%(text)s' is no name: use lower-case letters, digits and hyphens, 80 at most"),
    # what goes wrong
    N_("The request has a wrong shape or value: %(pointer)s: %(fault)s (and %(size)s more)"),
    N_("The request has a wrong shape or value: %(pointer)s: %(fault)s"),
    N_("The parameter '%(name)s' cannot be used: %(why)s"),
    N_(
        "The %(thing)s '%(slug)s' is at version %(version)s, not %(expected)s. Read it again, then decide"
        " whether your change still holds."
    ),
    N_("The %(thing)s '%(slug)s' does not exist: check its name, or register it first."),
    N_("The id %(event)s belongs to another event (%(stream)s, version %(version)s): give another id, or none."),
    N_("The registry has more to record than it can take now: try again in a second."),
    N_("The registry's database does not answer: try again in a few seconds."),
    N_("This key may %(has)s; '%(needs)s' is needed for that."),
    N_("The body is larger than %(size)s bytes: send it in parts."),
    N_("The connection ended before the body was complete: send it again."),
    N_("The body did not arrive within %(size)s seconds: send it in smaller parts."),
    N_("The Content-Type '%(name)s' cannot be read here: send %(expected)s."),
    N_(
        "The entry has %(size)s bytes, and a log entry has at most %(limit)s: say it shorter, or in "
        "several announcements."
    ),
    N_("Redaction needs the database's owner: start the service with REGISTRY_OWNER_URL."),
    N_("The form is not of this session, or came from another site: open it here again and send it anew."),
    N_("There is no event %(event)s."),
    N_("There is no organization '%(slug)s'."),
    N_("The organization '%(slug)s' was not known there yet."),
    N_("There is no deal '%(slug)s', and there never was one under this name."),
    N_(
        "The deal '%(slug)s' was not known at that point in time: its first event was recorded at "
        "%(moment)s, published on %(day)s, and holds from %(other_day)s. Ask for a later point."
    ),
    N_("'%(slug)s' has no event %(event)s that could be changed."),
    N_("There is no file '%(name)s'."),
    N_("'%(text)s' is no event id: a UUID is expected."),
    N_("it cannot be read"),
    N_("it is given twice"),
    N_("there is no such parameter; is '%(near)s' meant?"),
    N_("there is no such parameter; known are %(known)s"),
    N_("a whole date is expected, such as 2025-10-29"),
    N_("there is no day %(text)s"),
    N_("an instant with its offset is expected, such as 2025-10-29T12:00:00Z"),
    N_("true or false is expected"),
    N_("a name in lower-case letters, digits and hyphens is expected"),
    N_("an ISO 3166 country or subdivision is expected, such as KR or KR-31"),
    N_("some text without control characters is expected, %(limit)s characters at most"),
    N_("a whole number from %(low)s to %(high)s is expected"),
    N_("one of %(known)s is expected"),
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
