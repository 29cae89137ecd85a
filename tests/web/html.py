"""Parts of a page's HTML."""

from __future__ import annotations

import re


def text_of(html: str) -> str:
    """What a page says, without its markup."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


def main_of(html: str) -> str:
    return html[html.index("<main") : html.index("</main>")]
