"""What the comparison of a tracker's sheets works with: recorded deals, tracked rows, and the resulting plan."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Literal

from msgspec import Struct, field

from registry.imports.announcements import ParsedRow
from registry.imports.messages import ImportText
from registry.imports.workbook import CellError, SheetRow

QuestionKind = Literal["gone", "renamed", "split", "redefined", "column", "elsewhere", "silent"]


class KnownDeal(Struct, frozen=True):
    """A deal as it was recorded on the sheet's day.

    `state` is the response of `GET /v1/deals/{deal}`; `set_by` maps a field to the id of the event that set it;
    `events` maps the ids to these events (`event`, `sources`).
    """

    slug: str
    state: Mapping[str, Any]
    set_by: Mapping[str, str] = {}
    events: Mapping[str, Mapping[str, Any]] = {}

    @property
    def name(self) -> str:
        """The title in English, else in Korean, else the slug."""
        title = self.state["title"] or {}
        return str(title.get("en") or title.get("ko") or self.slug)

    def site(self, name: str) -> Mapping[str, Any] | None:
        """The site with this name."""
        return next((s for s in self.state["sites"] if s["site"] == name), None)


class CellText(Struct, frozen=True):
    """A text or a value, and the cell that it comes from."""

    text: str
    at: str


class PlannedMilestone(Struct, frozen=True):
    """The planned date of a milestone, and the capacity planned for it in MW."""

    on: date
    power_mw: str | None


class TrackedRow(Struct):
    """A row of the tracker's main sheet: its values by field, each with its cell."""

    name: str
    sheet_row: SheetRow
    at: str
    values: dict[str, CellText] = field(default_factory=dict)
    planned: dict[str, PlannedMilestone] = field(default_factory=dict)
    parties: list[tuple[str, str]] = field(default_factory=list)

    def value(self, name: str) -> str | None:
        """The value of a field."""
        return self.values[name].text if name in self.values else None


class OpenQuestion(Struct, frozen=True):
    """A question for an editor. `accept` is what to add to the mapping if the answer is yes."""

    kind: QuestionKind
    at: str
    message: ImportText
    accept: str | None = None

    @property
    def text(self) -> str:
        """The question in English."""
        return str(self.message)


class ImportPlan(Struct, frozen=True):
    """The announcements to record, the open questions, and the errors. With errors, there are no announcements."""

    rows: tuple[ParsedRow, ...]
    questions: tuple[OpenQuestion, ...]
    errors: tuple[CellError, ...]
