"""`registry watches`: new events that match a filter, by e-mail or to a receiver of your own."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from registry.cli.client import Url, get, given, segment, send
from registry.cli.options import AsJson, show, stderr
from registry.cli.texts import Text, rendered

group = typer.Typer(no_args_is_help=True, help="Watch new events by e-mail or webhook. Needs an API key.")

WatchId = Annotated[str, typer.Argument(metavar="ID", help="The watch's id.", show_default=False)]
Deal = Annotated[str | None, typer.Option(help="Events of this deal.", show_default=False)]
Organization = Annotated[str | None, typer.Option(help="Events that name this organization.", show_default=False)]
Source = Annotated[str | None, typer.Option(help="Events that cite this URL.", show_default=False)]
Types = Annotated[list[str] | None, typer.Option(help="Events of this type; may be repeated.")]
COLUMNS = ("id", "email", "url", "deal", "organization", "source", "type", "deals", "confirmed_at", "disabled_at")


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    app.add_typer(group, name="watches")


def _show(watches: list[dict[str, Any]], *, as_json: bool) -> None:
    show([{name: one[name] for name in COLUMNS} for one in watches], as_json=as_json)


@group.command("list")
def list_watches(url: Url = "", as_json: AsJson = False) -> None:
    """List your watches."""
    _show(get(url, "/v1/watches")["watches"], as_json=as_json)


@group.command()
def add(
    to: Annotated[str, typer.Argument(help="An e-mail address, or the https URL of a receiver.", show_default=False)],
    deal: Deal = None,
    organization: Organization = None,
    source: Source = None,
    type: Types = None,
    daily: Annotated[bool, typer.Option("--daily", help="Send e-mails once a day.")] = False,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Watch events. The address must confirm the watch; the secret of a receiver is shown once."""
    address = {"url": to} if "://" in to else {"email": to}
    body = address | given(deal=deal, organization=organization, source=source, type=type)
    made = send(url, "POST", "/v1/watches", body | ({"digest": "daily"} if daily else {}))
    if made["secret"] is None:
        stderr.print(rendered(Text("watch_mailed", address=to)), soft_wrap=True, markup=False)
    else:
        stderr.print(rendered(Text("watch_secret", id=made["id"])), soft_wrap=True, markup=False)
    show([{"id": made["id"], "secret": made["secret"]}], as_json=as_json)


@group.command()
def confirm(id: WatchId, url: Url = "", as_json: AsJson = False) -> None:
    """Ask the receiver of a watch to confirm it: the receiver must answer with the challenge that it gets."""
    _show([send(url, "POST", f"/v1/watches/{segment(id)}/confirm")], as_json=as_json)


@group.command()
def end(id: WatchId, url: Url = "") -> None:
    """End a watch, and delete its address."""
    send(url, "DELETE", f"/v1/watches/{segment(id)}")
