"""The rules by which a pledge counts in the bounds of a total, as values."""

from __future__ import annotations

from enum import StrEnum

from registry.i18n import Message


class RuleText(Message):
    """The explanation of a rule."""

    context = "rule"


class Rule(StrEnum):
    """Why a pledge, or a figure of another measure, is in the lower bound, in the upper bound, in both or in neither.

    The value is the rule's name in JSON; `docs/totals.md` explains each rule.
    """

    counts_low: bool
    counts_high: bool

    def __new__(cls, name: str, counts_low: bool, counts_high: bool) -> Rule:
        rule = str.__new__(cls, name)
        rule._value_ = name
        rule.counts_low = counts_low
        rule.counts_high = counts_high
        return rule

    COUNTED = "counted", True, True
    ADDITIONAL = "additional", True, True
    AGGREGATE = "aggregate", True, False
    MEMBERS = "members", False, True
    CONTAINED = "contained", True, False
    PART_OF = "part_of", False, False
    PART_OF_EACH_OTHER = "part_of_each_other", False, False
    OVERLAPS = "overlaps", False, True
    OUTWEIGHED = "outweighed", False, False
    SHARED = "shared", False, True
    FLAGGED = "flagged", False, True
    SUPERSEDED = "superseded", False, False
    WITHDRAWN = "withdrawn", False, False
    CANCELLED = "cancelled", False, False
    NOT_STATED = "not_stated", False, False
    NO_RATE = "no_rate", False, False
    ESTIMATE = "estimate", False, False
    EARLIER = "earlier", False, False
    REPLACED = "replaced", False, False
    DROPPED = "dropped", False, False

    @property
    def counts(self) -> bool:
        """Whether the pledge is in at least one bound."""
        return self.counts_low or self.counts_high

    @property
    def text(self) -> RuleText:
        """The rule's explanation; `str()` renders it in English, `registry.i18n.render` in any language."""
        return RuleText(self.value)
