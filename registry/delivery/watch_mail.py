"""What the e-mails of a watch say, in the language of the watch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from registry.delivery.mail import Mail
from registry.delivery.watch_store import Watch
from registry.delivery.webhook_store import Webhook
from registry.events.types import Recorded
from registry.i18n import Label, Message, render
from registry.i18n.places import place_name
from registry.schemas.deal_query import CODE_FILTERS, ITEM_FILTERS

# Events that a message lists; it states how many others there are.
MAX_LISTED = 50


class MailText(Message):
    """A text of an e-mail."""

    __slots__ = ()
    context = "mail"


def confirmation(watch: Watch, to: str, about: str, link: str) -> Mail:
    """The message that asks whether the address's owner wants the others."""

    def text(message: Message) -> str:
        return render(message, watch.language)

    lines = [
        text(MailText("confirm_what", about=about)),
        text(MailText("confirm_how", link=link)),
        text(MailText("confirm_ignore")),
    ]
    return Mail(
        to=to, subject=text(MailText("confirm_subject")), text="\n\n".join(lines) + "\n", language=watch.language
    )


def news(
    watch: Watch, to: str, about: str, events: Sequence[Recorded], titles: Mapping[str, str], site: str, end: str
) -> Mail:
    """The message about new events.

    Args:
        watch: The watch.
        to: Its address.
        about: What it is about, in words.
        events: The new events, in the order of the log.
        titles: The names of their streams.
        site: The address of the pages.
        end: The address at which the watch ends.
    """

    def text(message: Message) -> str:
        return render(message, watch.language)

    lines = [_line(event, titles, site, watch.language) for event in events[:MAX_LISTED]]
    if len(events) > MAX_LISTED:
        lines.append(text(MailText("news_more", count=len(events) - MAX_LISTED, link=f"{site}/log")))
    subject = text(MailText("news_subject", about=about, count=len(events)))
    body = "\n\n".join([*lines, text(MailText("news_why", about=about)), text(MailText("news_end", link=end))])
    # One click ends the watch, without a page (RFC 8058); readers of mail show it beside the sender.
    headers = {"List-Unsubscribe": f"<{end}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
    headers["List-Id"] = f"<{watch.id}.watches>"
    return Mail(to=to, subject=subject, text=body + "\n", language=watch.language, headers=headers)


def _line(event: Recorded, titles: Mapping[str, str], site: str, language: str) -> str:
    what = render(Label(f"event/{event.type}"), language)
    day = f" ({event.effective_on.isoformat()})" if event.effective_on is not None else ""
    title = titles.get(f"{event.kind}/{event.slug}", event.slug)
    return f"{title}: {what}{day}\n{site}/events/{event.id}"


def describe(watch: Watch | Webhook, titles: Mapping[str, str], language: str) -> str:
    """What a watch, by e-mail or at a receiver, is about."""
    parts = []
    if watch.deal is not None:
        parts.append(titles.get(f"deal/{watch.deal}", watch.deal))
    if watch.organization is not None:
        parts.append(titles.get(f"organization/{watch.organization}", watch.organization))
    if watch.source is not None:
        parts.append(watch.source)
    if watch.deals is not None:
        parts += [condition_text(name, value, titles, language) for name, value in watch.deals.given().items()]
    parts += [render(Label(f"event/{type}"), language) for type in watch.type or ()]
    return ", ".join(parts) or render(MailText("everything"), language)


def condition_text(name: str, value: str, titles: Mapping[str, str], language: str) -> str:
    """A condition on deals, in a language."""
    match name:
        case "organization":
            return titles.get(f"organization/{value}", value)
        case "region":
            return place_name(value, language)
        case "role" | "stage" | "commitment" | "metric" | "metric_basis" | "extent":
            return render(Label(f"{name}/{value}"), language)
        case _ if name in CODE_FILTERS:
            code = f"{name}/{value}"
            label = render(Label(code), language)
            return label if label != code else value
        case _ if name in ITEM_FILTERS:
            return render(Label(f"{name}_kind/{value}"), language)
        case "amount_min" | "metric_min":
            return render(MailText("amount_min", value=value), language)
        case "amount_max" | "metric_max":
            return render(MailText("amount_max", value=value), language)
        case "share_min":
            return render(MailText("share_min", value=value), language)
        case "share_max":
            return render(MailText("share_max", value=value), language)
        case _:
            return value
