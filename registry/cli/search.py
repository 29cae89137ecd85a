"""`registry search`: find deals, organizations, places and sources by words."""

from __future__ import annotations

from typing import Annotated

import typer

from registry.cli.asking import POINT, Question, asking, print_table
from registry.cli.summaries import label, localized

Query = Annotated[
    list[str], typer.Argument(help="Words of names, places, parties, sources or identifiers, in any language.")
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(search)


@asking(*POINT)
def search(
    question: Question,
    words: Query,
    kind: Annotated[str | None, typer.Option(help="Only this kind: deal, organization, place or source.")] = None,
    limit: Annotated[int, typer.Option(help="Maximum number of hits of each kind.")] = 20,
) -> None:
    """Find deals, organizations, places and sources that contain every word, the best matches of each kind first."""
    found = question.get("/v1/search", q=" ".join(words), kind=kind, limit=limit)
    if question.print_json(found):
        return
    rows = [
        {
            "kind": label("hit", hit["kind"]),
            "id": hit["id"],
            "title": localized(hit["title"]),
            "deals": hit["deals"],
            "matches": "; ".join(_marked(match) for match in hit["matches"][:2]) or None,
        }
        for hit in found["hits"]
    ]
    print_table(None, rows)


def _marked(match: dict[str, object]) -> str:
    """A text with what matches in brackets."""
    text = str(match["text"])
    for start, end in reversed(match["marks"]):  # type: ignore[call-overload]
        text = f"{text[:start]}[{text[start:end]}]{text[end:]}"
    return text
