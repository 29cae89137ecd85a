"""`registry proposals`: announcements that wait for a second person's decision.

`registry import --propose` makes them. A decision names the digest of the content that it is about.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import quote

import typer

from registry.cli import summaries
from registry.cli.asking import Question, asking, print_table
from registry.cli.client import find_each, given, segment, send
from registry.cli.texts import Text, rendered
from registry.client.settings import PAGE
from registry.formatting.language import DOT

group = typer.Typer(no_args_is_help=True, help="List proposals, show them, and approve or reject them.")

ProposalId = Annotated[str, typer.Argument(metavar="ID", help="The proposal's id.", show_default=False)]
Digest = Annotated[
    str, typer.Option(help="The digest of the content, as 'registry proposals show' prints it.", show_default=False)
]


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    app.add_typer(group, name="proposals")


@group.command("list")
@asking()
def list_proposals(
    question: Question,
    status: Annotated[
        str | None, typer.Option(help="Only with this status: open, approved or rejected.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of proposals.")] = 100,
) -> None:
    """List proposals, the newest first: all of them if your key may decide on them, else your own."""
    found: list[dict[str, Any]] = []
    while (asked := min(limit - len(found), PAGE)) > 0:
        cursor = found[-1]["proposal"] if found else None
        page = question.get("/v1/proposals", status=status, cursor=cursor, limit=asked)["proposals"]
        found += page
        if len(page) < asked:
            break
    _print(question, found)


@group.command()
@asking()
def show(question: Question, id: ProposalId) -> None:
    """Show a proposal: its announcements, and what recording them now would change."""
    found = question.get(f"/v1/proposals/{segment(id)}")
    if question.print_json(found):
        return
    rows = [{"field": field, "value": value} for field, value in _fields(question, found) if value is not None]
    print_table(None, rows)


@group.command()
@asking()
def approve(question: Question, id: ProposalId, digest: Digest) -> None:
    """Approve a proposal: its announcements are recorded. Refused if its content does not have the digest."""
    _print(question, [send(question.url, "POST", f"/v1/proposals/{segment(id)}/approve", headers=_if_match(digest))])


@group.command()
@asking()
def reject(
    question: Question,
    id: ProposalId,
    digest: Digest,
    reason: Annotated[str | None, typer.Option(help="Why it is rejected.", show_default=False)] = None,
) -> None:
    """Reject a proposal, or withdraw your own; its announcements are deleted."""
    path = f"/v1/proposals/{segment(id)}/reject"
    _print(question, [send(question.url, "POST", path, given(reason=reason), _if_match(digest))])


def _if_match(digest: str) -> dict[str, str]:
    # What is no digest is refused by the service, not by the header's encoding.
    return {"If-Match": f'"{quote(digest)}"'}


def _print(question: Question, proposals: list[dict[str, Any]]) -> None:
    if question.print_json(proposals):
        return
    names = _names(question) if proposals else {}
    rows = [
        {
            "id": one["proposal"],
            "subject": _subject(one),
            "event": ", ".join(dict.fromkeys(_types(one))) or None,
            "proposed by": names.get(one["proposed_by"], one["proposed_by"]),
            "proposed at": one["proposed_at"],
            "status": _status(one),
        }
        for one in proposals
    ]
    print_table(None, rows)


def _fields(question: Question, found: dict[str, Any]) -> Iterator[tuple[str | None, str | None]]:
    """The rows of a proposal. Announcements are shown as they were proposed: a reviewer answers for all of it."""
    names, gettext = _names(question), summaries.formatter().words.gettext
    subject = "deal" if "deal" in found else "organization"
    yield summaries.label("field", subject), _subject(found)
    yield gettext("Status"), _status(found)
    yield gettext("Proposed by"), names.get(found["proposed_by"], found["proposed_by"])
    yield gettext("Proposed"), found["proposed_at"]
    for change in found["changes"]:
        yield gettext("Changed by"), f"{names.get(change['by'], change['by'])}, {change['at']}"
    if found["decided_by"] is not None:
        yield gettext("Decided by"), f"{names.get(found['decided_by'], found['decided_by'])}, {found['decided_at']}"
        yield gettext("Reason"), found["reason"]
        yield rendered(Text("heading_position")), found["position"]
    yield rendered(Text("row_digest")), found["digest"]
    for type, announcement in zip(_types(found), found["announcements"], strict=True):
        yield type, "–"
        for part, named in ((announcement["event"], "type"), (announcement, "event")):
            rest = {name: value for name, value in part.items() if name != named}
            yield from ((f"  {field}", value) for field, value in _stated(rest))
    if "preview" in found:
        yield from _preview(question, found["preview"], found.get("deal", ""))


def _stated(value: Any, *labels: str) -> Iterator[tuple[str, str]]:
    """Each value of an announcement, in the words that were proposed, with the labels of its fields."""
    match value:
        case dict():
            for name, below in value.items():
                yield from _stated(below, *labels, str(summaries.label("field", name)))
        case [dict(), *_]:
            for number, below in enumerate(value, 1):
                yield from _stated(below, *labels, *((str(number),) if len(value) > 1 else ()))
        case list():
            yield DOT.join(labels), ", ".join(map(str, value))
        case _:
            yield DOT.join(labels), "–" if value is None else str(value)


def _preview(question: Question, preview: dict[str, Any], deal: str) -> Iterator[tuple[str | None, str | None]]:
    """What recording a proposal now would change, or why it does not apply."""
    changes = preview["changes"]
    titles = question.titles(summaries.related_deals(changes, deal))
    names = summaries.names_in_changes(changes, deal) | titles
    for _, field, before, after in summaries.changes(changes, names):
        yield field, f"{before} → {after}"
    for flag in preview["flags"]:
        yield rendered(Text("row_warning")), summaries.warning(flag, names)
    if preview["refusal"] is not None:
        yield rendered(Text("row_refused")), preview["refusal"]["detail"]


def _subject(proposal: dict[str, Any]) -> str:
    return str(proposal.get("deal") or proposal["organization"])


def _types(proposal: dict[str, Any]) -> list[str]:
    """The type of each announcement; none once the proposal is decided."""
    return [str(summaries.label("event", one["event"]["type"])) for one in proposal["announcements"]]


def _status(proposal: dict[str, Any]) -> str:
    """The status, in the words of the page: its own proposer withdraws a proposal."""
    gettext = summaries.formatter().words.gettext
    if proposal["status"] == "open":
        return gettext("Open")
    if proposal["status"] == "approved":
        return gettext("Approved")
    return gettext("Withdrawn") if proposal["decided_by"] == proposal["proposed_by"] else gettext("Rejected")


def _names(question: Question) -> dict[str, str]:
    """The display names of principals, as far as the service tells them: a table shows ids instead."""
    found = next(find_each(question.url, ("/v1/log/names",)), None)
    return {one["principal"]: one["name"] for one in found["names"] if one["name"]} if found else {}
