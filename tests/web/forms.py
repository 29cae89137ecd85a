"""The fields of a page's form as a browser without scripts sends them."""

from __future__ import annotations

from html.parser import HTMLParser

import httpx


class FormParser(HTMLParser):
    """The fields of the last form in the main part of a page, and its buttons, by the text on them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self.buttons: dict[str, tuple[str, str]] = {}
        self._select: str | None = None
        self._text: str | None = None
        self._button: tuple[str, str] | None = None
        main = page[page.index("<main") : page.index("</main>")]
        self.feed(main[main.rindex("<form") :])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        name = given.get("name", "")
        if tag == "input" and name and (given.get("type") != "checkbox" or "checked" in given):
            self.fields[name] = given.get("value", "")
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select is not None and ("selected" in given or self._select not in self.fields):
            self.fields[self._select] = given.get("value", "")
        elif tag == "textarea":
            self._text, self.fields[name] = name, ""
        elif tag == "button":
            self._button = name, given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self._select = None
        elif tag == "textarea":
            self._text = None
        elif tag == "button":
            self._button = None

    def handle_data(self, data: str) -> None:
        if self._text is not None:
            self.fields[self._text] += data
        if self._button is not None:
            self.buttons[data.strip()] = self._button


def fields(page: str) -> dict[str, str]:
    """The fields of the page's last form."""
    return FormParser(page).fields


def button(page: str, text: str) -> dict[str, str]:
    """The field that a button with a text in its label adds to the form."""
    [chosen] = {one for label, one in FormParser(page).buttons.items() if text in label}
    return dict([chosen])


async def press(client: httpx.AsyncClient, page: httpx.Response, text: str, **typed: str) -> httpx.Response:
    """Send the form of an article with what was typed, by the button with this text."""
    return await client.post("/record", data={**fields(page.text), **typed, **button(page.text, text)})


async def opened_article(client: httpx.AsyncClient, **query: str) -> httpx.Response:
    """The form of an article, with the deal and the type of the first announcement that the address names."""
    page = await client.get("/record", params=query)
    assert page.status_code == 200, page.text
    return page


def of_first(**typed: str) -> dict[str, str]:
    """Fields of the first announcement's event, by their names in the form of an article."""
    return {f"deals/0/announcements/0/event/{name}": text for name, text in typed.items()}
