"""Why a domain rule rejects an event."""

from __future__ import annotations

from typing import ClassVar

from registry.i18n import Message


class Refusal(Message):
    """A broken domain rule: its stable name (`code`, called `rule` in JSON) and what the text mentions (`params`).

    The texts are in `registry/i18n/locale/LANGUAGE/refusals.po`; each says what is wrong and what to do about it.
    """

    __slots__ = ()
    context: ClassVar[str] = "refusal"
