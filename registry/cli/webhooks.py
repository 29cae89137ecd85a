"""`registry webhooks`: where the service sends events, and what became of each delivery."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from registry.cli.client import Url, get, given, segment, send
from registry.cli.options import AsJson, show, stderr
from registry.cli.texts import Text, rendered
from registry.cli.watches import Deal, Organization, Source, Types

group = typer.Typer(no_args_is_help=True, help="Send new events to other programs. Needs a key with the scope admin.")

WebhookId = Annotated[str, typer.Argument(metavar="ID", help="The webhook's id.", show_default=False)]
Format = Annotated[
    str | None,
    typer.Option(help="Format of the messages: standard, cloudevents or cloudevents-binary.", show_default=False),
]
COLUMNS = (
    *("id", "url", "format", "deal", "organization", "source", "type", "deals"),
    *("position", "failures", "disabled_at", "owner"),
)


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    app.add_typer(group, name="webhooks")


@group.command("list")
def list_webhooks(url: Url = "", as_json: AsJson = False) -> None:
    """List all webhooks and the receivers of watches, with the position that each has reached."""
    _show(get(url, "/v1/webhooks")["webhooks"], as_json=as_json)


@group.command()
def add(
    to: Annotated[str, typer.Argument(metavar="URL", help="The https URL of the receiver.", show_default=False)],
    deal: Deal = None,
    organization: Organization = None,
    source: Source = None,
    type: Types = None,
    format: Format = None,
    after: Annotated[
        int | None,
        typer.Option(min=0, help="Begin after this position of the log (default: its end).", show_default=False),
    ] = None,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Send new events to a receiver. The secret that signs the messages is shown once."""
    body = given(url=to, deal=deal, organization=organization, source=source, type=type, format=format, after=after)
    _show_secret(send(url, "POST", "/v1/webhooks", body), as_json=as_json)


@group.command()
def update(
    id: WebhookId,
    to: Annotated[str | None, typer.Option(help="The new https URL of the receiver.", show_default=False)] = None,
    deal: Deal = None,
    organization: Organization = None,
    source: Source = None,
    type: Types = None,
    format: Format = None,
    enabled: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Resume or stop the delivery.", show_default=False)
    ] = None,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Change a webhook; its position stays. An empty filter, such as --deal '', is removed."""
    changes = given(
        url=to, deal=deal, organization=organization, source=source, type=type, format=format, enabled=enabled
    )
    changes = {name: None if value in ("", [""]) else value for name, value in changes.items()}
    _show([send(url, "PATCH", f"/v1/webhooks/{segment(id)}", changes)], as_json=as_json)


@group.command()
def rotate(
    id: WebhookId,
    hours: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Hours during which messages are signed with the old secret too (default: 24).",
            show_default=False,
        ),
    ] = None,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Make a new secret, which is shown once."""
    _show_secret(send(url, "POST", f"/v1/webhooks/{segment(id)}/rotate", given(overlap_hours=hours)), as_json=as_json)


@group.command()
def delete(id: WebhookId, url: Url = "") -> None:
    """Delete a webhook, or the receiver of a watch."""
    send(url, "DELETE", f"/v1/webhooks/{segment(id)}")


@group.command()
def deliveries(
    id: WebhookId,
    limit: Annotated[int, typer.Option(help="Maximum number of attempts.")] = 100,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """List the latest attempts to deliver, the newest first, with the receiver's answers."""
    show(get(url, f"/v1/webhooks/{segment(id)}/deliveries", limit=limit)["deliveries"], as_json=as_json)


@group.command()
def resend(
    id: WebhookId,
    position: Annotated[
        int, typer.Argument(metavar="POSITION", min=0, help="The position of the event in the log.", show_default=False)
    ],
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Send an event again, now. If the receiver accepts it, a disabled webhook continues where it stopped.

    Exits with 1 if the receiver does not accept it.
    """
    sent = send(url, "POST", f"/v1/webhooks/{segment(id)}/resend", {"position": position})
    _show_delivery(sent, as_json=as_json)


@group.command("test")
def send_test(id: WebhookId, url: Url = "", as_json: AsJson = False) -> None:
    """Send a test message, and show the receiver's answer.

    Exits with 1 if the receiver does not accept it.
    """
    _show_delivery(send(url, "POST", f"/v1/webhooks/{segment(id)}/test"), as_json=as_json)


def _show(webhooks: list[dict[str, Any]], *, as_json: bool) -> None:
    show([{name: one[name] for name in COLUMNS} for one in webhooks], as_json=as_json)


def _show_delivery(sent: dict[str, Any], *, as_json: bool) -> None:
    """Show an attempt to deliver. One that failed ends the command with 1."""
    show([sent], as_json=as_json)
    if sent["error"] is None:
        return
    if sent["status"] is not None:
        why = Text("receiver_answered", status=sent["status"])
    else:
        why = Text("not_delivered", error=sent["error"])
    stderr.print(f"registry: {rendered(why)}", soft_wrap=True, markup=False)
    raise typer.Exit(1)


def _show_secret(made: dict[str, Any], *, as_json: bool) -> None:
    stderr.print(rendered(Text("webhook_secret")), soft_wrap=True, markup=False)
    show([{name: made[name] for name in ("id", "secret", "rotation_ends_at")}], as_json=as_json)
