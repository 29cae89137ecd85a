"""Render the pages on which editors correct, void and redact events, and add those of organizations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec
from litestar.di import NamedDependency

from registry.append.requests import AppendResult
from registry.domain.deal import Deal
from registry.errors import FieldError
from registry.events.values import Amount, StatedAmount
from registry.formatting.fields import organizations_in
from registry.formatting.values import shown
from registry.i18n import Message
from registry.queries.deals import DealQueries
from registry.web.forms import build
from registry.web.forms.build import FormContext
from registry.web.forms.event_types import ORGANIZATION_GROUPS
from registry.web.page import render
from registry.web.page.render import Rendered
from registry.web.page.request import PageRequest
from registry.web.recording.state_types import typed_change
from registry.web.recording.tasks import AnyAnnouncement, FormTask, content_of


class FormPages:
    """The pages of a form, made with what its fields offer and refer to."""

    def __init__(
        self,
        deal_queries: NamedDependency[DealQueries],
    ) -> None:
        self._deals = deal_queries

    async def form(
        self,
        page: PageRequest,
        task: FormTask,
        typed: Mapping[str, str],
        *,
        errors: Sequence[FieldError] = (),
        problem: Message | None = None,
        stranded: Sequence[str] = (),
        picks: Mapping[str, Sequence[tuple[str, str]]] | None = None,
        status: int = 200,
    ) -> Rendered:
        """The form.

        Args:
            page: The request.
            task: What the form is for.
            typed: The text of its fields.
            errors: What is wrong with its fields.
            problem: Why the announcement was refused as a whole.
            stranded: The ids of the later events that would no longer apply, which is why it was refused.
            picks: For each field with a name that is not clear, what it may mean.
            status: The HTTP status.
        """
        sections = []
        names = await self._names(page, task, None)
        if task.event is not None:
            state = task.history.state if task.history is not None else None
            context = FormContext(state if isinstance(state, Deal) else None, names)
            correcting = task.original is not None
            sections = build.sections(task.event, typed, context, page.language, correcting=correcting)
        if task.of_record:
            sections.append(build.reason_section(typed, page.language, redacting=task.redacts is not None))
        fields = [field for section in sections for field in section.fields]
        by_id = task.history.record.by_id if task.history is not None else {}
        return render.render(
            page,
            "record.html",
            status,
            task=task,
            names=names,
            title=self._title(page, task),
            groups=ORGANIZATION_GROUPS,
            sections=sections,
            typed=typed,
            picks=picks or {},
            errors={f.name: error for f in fields if (error := build.field_error(f, errors))},
            other_errors=[e for e in errors if not any(build.field_error(f, [e]) for f in fields)],
            problem=problem,
            stranded=[by_id[UUID(event)] for event in stranded if UUID(event) in by_id],
        )

    async def preview(
        self,
        page: PageRequest,
        task: FormTask,
        announcement: AnyAnnouncement,
        readings: Mapping[str, Amount],
        outcome: AppendResult,
        sent: Mapping[str, str],
    ) -> Rendered:
        """The page that shows what an announcement would change.

        Args:
            page: The request.
            task: What the form is for.
            announcement: The announcement.
            readings: The amounts that were parsed, by their form field.
            outcome: The result of a dry run.
            sent: The fields of the form.
        """
        return render.render(
            page,
            "record_preview.html",
            task=task,
            announcement=announcement,
            readings=[amount_reading(amount, page.language) for amount in readings.values()],
            changes=[typed_change(change) for change in msgspec.json.decode(outcome.response)["changes"]],
            flags=outcome.flags,
            sent=sent,
            content=content_of(announcement),
            names=await self._names(page, task, announcement),
        )

    async def _names(self, page: PageRequest, task: FormTask, announcement: AnyAnnouncement | None) -> dict[str, str]:
        event = content_of(announcement).event if announcement is not None else None
        about = [effective.event for effective in (task.original, task.voids, task.redacts) if effective is not None]
        names = await page.names.organizations(organizations_in([event, *about]))
        if task.history is None or task.kind != "deal":
            return names
        return names | await page.names.of_deal(task.history.state)

    def _title(self, page: PageRequest, task: FormTask) -> str:
        if task.history is None:
            return task.slug
        state = task.history.state
        return shown(page.language).words.localized(state.title if isinstance(state, Deal) else state.name, task.slug)


def amount_reading(amount: Amount, language: str) -> str:
    """A parsed amount in full digits, so that the editor sees how its text was understood."""
    formatter = shown(language).figures
    readings = []
    amounts: list[Amount | StatedAmount] = [amount, *amount.stated_as]
    for stated in amounts:
        bounds = (getattr(stated, "low", None), getattr(stated, "high", None))
        figures = [stated.value] if stated.value is not None else [bound for bound in bounds if bound is not None]
        digits = "–".join(formatter.full_amount(figure, stated.currency) for figure in figures)
        readings.append(formatter.qualified(digits, stated.qualifier))
    return " = ".join(readings)
