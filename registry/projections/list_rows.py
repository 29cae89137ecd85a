"""What deal_states stores of one state: filter terms, searchable titles, the list row and the totals row."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from msgspec import Struct

from registry.domain.deal import Deal, PartyState
from registry.domain.totals import encode_row, row_of, simple_sum
from registry.schemas import encode, list_item

ANY_DEAL_TERM = "deal"
"""The term that every deal has."""


class ListRow(Struct, frozen=True, gc=False):
    """A state as it is stored.

    Attributes:
        state: The id of this row among the deal's rows: the first 64 bits of a hash of the next four.
        terms: What lists filter by, separated by line breaks.
        title: What searches look in: the slug, the titles and the parties' names.
        row: The JSON of the deal's list item.
        totals: The encoded row that totals read.
        kind: The currency and commitment level of the deal's sum; None where the amounts cannot be added up without
            looking at the deal's relations.
        amount: The sum, an exact decimal.
        pledges: How many pledges the sum includes.
    """

    state: int
    terms: str
    title: str
    row: bytes
    totals: bytes
    kind: str | None
    amount: str | None
    pledges: int | None


def list_row(deal: Deal) -> ListRow:
    """A deal's state as it is stored."""
    parties = [party for party in deal.parties if party.left_on is None]
    item = list_item(deal)
    terms, title = _terms(deal, parties, item.places), _title(deal, parties)
    row = encode(item)
    of_totals = row_of(deal)
    totals = encode_row(of_totals)
    digest = blake2b(b"%b%b%b" % (totals, row, f"{terms}\n{title}".encode()), digest_size=8).digest()
    state = int.from_bytes(digest, signed=True)
    total = simple_sum(of_totals)
    if total is None:
        return ListRow(state, terms, title, row, totals, None, None, None)
    return ListRow(state, terms, title, row, totals, total.kind, str(total.amount), total.pledges)


def _terms(deal: Deal, parties: Sequence[PartyState], places: Sequence[str]) -> str:
    terms = [f"sector:{sector}" for sector in deal.sectors]
    for party in parties:
        terms.append(f"organization:{party.organization}")
        if party.role is not None:
            terms += (f"role:{party.role}", f"{party.role}:{party.organization}")
    for place in places:
        terms += (f"region:{place}", f"region:{place[:2]}")
    if deal.stage is not None:
        terms.append(f"stage:{deal.stage.value}")
    if deal.kind is not None:
        terms.append(f"kind:{deal.kind}")
    terms += [f"classification:{axis}:{code}" for axis, codes in (deal.classifications or {}).items() for code in codes]
    terms += [f"identifier:{one.scheme}:{one.value}" for one in deal.identifiers]
    terms += [f"related:{relation.deal}" for relation in deal.relations]
    for pledge in deal.pledges:
        if pledge.status != "withdrawn":
            if pledge.commitment:
                terms.append(f"commitment:{pledge.commitment}")
            if pledge.amount:
                terms.append(f"currency:{pledge.amount.currency}")
    return "\n".join(sorted(set(terms)))


def _title(deal: Deal, parties: Sequence[PartyState]) -> str:
    words = [deal.deal]
    for name in (deal.title, *[p.name for p in parties]):
        if name is not None:
            words += name.values()
    return " ".join(dict.fromkeys(words))
