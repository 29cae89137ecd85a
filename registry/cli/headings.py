"""Headings of the tables that commands print, in the command's language."""

from __future__ import annotations

from typing import Any

from registry.cli.texts import Text, language, rendered
from registry.i18n import Label, render

HEADINGS = {
    "after": Text("heading_after"),
    "already recorded": Text("heading_already_recorded"),
    "at": Text("heading_at"),
    "attempt": Text("heading_attempt"),
    "base": Text("heading_base"),
    "before": Text("heading_before"),
    "changed": Text("heading_changed"),
    "check": Text("heading_check"),
    "confirmed_at": Text("heading_confirmed_at"),
    "currency": Text("heading_currency"),
    "day": Text("heading_day"),
    "deal": Text("heading_deal"),
    "deals": Text("heading_deals"),
    "decided by": Text("heading_decided_by"),
    "detail": Text("heading_detail"),
    "difference": Text("heading_difference"),
    "disabled_at": Text("heading_disabled_at"),
    "effective": Text("heading_effective"),
    "email": Text("heading_email"),
    "error": Text("heading_error"),
    "event": Text("heading_event"),
    "evidence": Text("heading_evidence"),
    "expires_at": Text("heading_expires_at"),
    "failures": Text("heading_failures"),
    "field": Text("heading_field"),
    "format": Text("heading_format"),
    "found": Text("heading_found"),
    "from": Text("heading_from"),
    "id": Text("heading_id"),
    "issued_at": Text("heading_issued_at"),
    "kind": Text("heading_kind"),
    "lacked": Text("heading_lacked"),
    "log ended at": Text("heading_log_ended_at"),
    "matches": Text("heading_matches"),
    "message": Text("heading_message"),
    "name": Text("heading_name"),
    "nature": Text("heading_nature"),
    "new": Text("heading_new"),
    "noticed": Text("heading_noticed"),
    "number": Text("heading_number"),
    "organization": Text("heading_organization"),
    "organizations": Text("heading_organizations"),
    "outcome": Text("heading_outcome"),
    "owner": Text("heading_owner"),
    "pledged": Text("heading_pledged"),
    "pledges": Text("heading_pledges"),
    "position": Text("heading_position"),
    "principal": Text("heading_principal"),
    "proposed": Text("heading_proposed"),
    "proposed at": Text("heading_proposed_at"),
    "proposed by": Text("heading_proposed_by"),
    "proves": Text("heading_proves"),
    "published": Text("heading_published"),
    "reason": Text("heading_reason"),
    "recorded": Text("heading_recorded"),
    "recorded or waiting already": Text("heading_recorded_or_waiting_already"),
    "recorded_at": Text("heading_recorded_at"),
    "refused": Text("heading_refused"),
    "registered": Text("heading_registered"),
    "revoked_at": Text("heading_revoked_at"),
    "rotation_ends_at": Text("heading_rotation_ends_at"),
    "row": Text("heading_row"),
    "scopes": Text("heading_scopes"),
    "seconds": Text("heading_seconds"),
    "secret": Text("heading_secret"),
    "set by": Text("heading_set_by"),
    "source": Text("heading_source"),
    "sources": Text("heading_sources"),
    "stage": Text("heading_stage"),
    "status": Text("heading_status"),
    "subject": Text("heading_subject"),
    "table": Text("heading_table"),
    "title": Text("heading_title"),
    "to": Text("heading_to"),
    "type": Text("heading_type"),
    "unchanged": Text("heading_unchanged"),
    "url": Text("heading_url"),
    "value": Text("heading_value"),
    "where": Text("heading_where"),
}

CELLS = {
    "found": {
        "fine": Text("cell_fine"),
        "warning": Text("cell_warning"),
        "wrong": Text("cell_wrong"),
    },
}
"""The values that a column has a text for: the results of checks. A name or a reason may be the same word."""


def cell(column: str, value: Any) -> str:
    """A value of a column: a boolean and the result of a check in the command's language."""
    if isinstance(value, bool):
        return rendered(Text("cell_yes") if value else Text("cell_no"))
    text = CELLS.get(column, {}).get(value)
    return str(value) if text is None else rendered(text)


def heading(column: str) -> str:
    """The heading of a column; that of a group of totals is the name of its field."""
    text = HEADINGS.get(column)
    if text is not None:
        return rendered(text)
    label = Label(f"facet/{column}")
    return column.replace("_", " ") if (name := render(label, language.get())) == label.code else name
