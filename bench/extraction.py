"""Precision and recall of the proposals from articles: `python -m bench.extraction FOLDER`.

The articles are third-party texts and not in the repository: save the text of each address of `extraction.json` as
FOLDER/NAME.txt. The file says which deals each article announces: the company and the amount. No organization is known
beforehand, as in an empty registry.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from registry.extraction import Article, ProposedDeal, extract

EXPECTED = Path(__file__).parent / "extraction.json"


def main(folder: Path) -> None:
    """Print the figures of each set. The rules were improved after the first run on a set, and not for later sets."""
    articles: list[dict[str, Any]] = json.loads(EXPECTED.read_text())
    for number in sorted({article["set"] for article in articles}):
        _print_set(number, [article for article in articles if article["set"] == number], folder)


def _print_set(number: int, articles: list[dict[str, Any]], folder: Path) -> None:
    expected = proposed = companies = amounts = 0
    for article in articles:
        path = folder / f"{article['name']}.txt"
        if not path.exists():
            print(f"missing: {path} ({article['url']})")
            continue
        deals = extract(Article(path.read_text()), ())
        matched = [(deal, want) for deal in deals for want in article["deals"] if want["company"] in names(deal)]
        expected += len(article["deals"])
        proposed += len(deals)
        companies += len(matched)
        amounts += sum(want["amount"] in values(deal) for deal, want in matched)
        print(f"{article['name']}: {len(matched)} of {len(article['deals'])} deals, {len(deals)} proposed")
    if expected and proposed:
        print(f"set {number}: recall {companies / expected:.2f}, precision {companies / proposed:.2f}", end="")
        print(f", deals with the right amount {amounts / expected:.2f} ({expected} deals)")


def names(deal: ProposedDeal) -> set[str]:
    """The names of the company that a proposed deal is about."""
    joined = [one.announcement["event"] for one in deal.announcements]
    return {name for event in joined if "parties" in event for name in event["parties"][0]["name"].values()}


def values(deal: ProposedDeal) -> set[str | None]:
    """The amounts of a proposed deal; None for none."""
    events = [one.announcement["event"] for one in deal.announcements]
    found: set[str | None] = {
        f"{event['amount']['currency']} {event['amount']['value']}" for event in events if event.get("amount")
    }
    return found or {None}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
