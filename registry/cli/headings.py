"""Headings of the tables that queries print, in the command's language."""

from __future__ import annotations

from registry.cli.texts import Text, language, rendered
from registry.i18n import Label, render

HEADINGS = {
    "after": Text("heading_after"),
    "before": Text("heading_before"),
    "changed": Text("heading_changed"),
    "deal": Text("heading_deal"),
    "deals": Text("heading_deals"),
    "effective": Text("heading_effective"),
    "event": Text("heading_event"),
    "field": Text("heading_field"),
    "from": Text("heading_from"),
    "id": Text("heading_id"),
    "kind": Text("heading_kind"),
    "matches": Text("heading_matches"),
    "nature": Text("heading_nature"),
    "pledged": Text("heading_pledged"),
    "pledges": Text("heading_pledges"),
    "position": Text("heading_position"),
    "published": Text("heading_published"),
    "set by": Text("heading_set_by"),
    "source": Text("heading_source"),
    "stage": Text("heading_stage"),
    "title": Text("heading_title"),
    "to": Text("heading_to"),
    "value": Text("heading_value"),
    "where": Text("heading_where"),
}


def heading(column: str) -> str:
    """The heading of a column; that of a group of totals is the name of its field."""
    text = HEADINGS.get(column)
    if text is not None:
        return rendered(text)
    label = Label(f"facet/{column}")
    return column if (name := render(label, language.get())) == label.code else name
