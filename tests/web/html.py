"""Parts of a page's HTML."""

from __future__ import annotations

import re


def text_of(html: str) -> str:
    """What a page says, without its markup."""
    return plain(re.sub(r"<[^>]*>", " ", html))


def plain(text: str) -> str:
    """A text without what tells where its lines may break: no-break spaces are spaces."""
    return re.sub(r"\s+", " ", re.sub("[\u200b\u2060]", "", text))


def main_of(html: str) -> str:
    return html[html.index("<main") : html.index("</main>")]
