"""A long response is encoded in pieces, and the JSON is that of one call."""

from __future__ import annotations

import pytest
from msgspec import Struct
from msgspec.structs import replace

from registry.schemas import DealFields, DealHistory, Provenance, Timemap, convert, encode, encode_long
from registry.schemas.deals import Memento
from registry.schemas.values import convert_long
from tests.domain.builders import FIRST_INSTANT, usd
from tests.domain.pledges import pledged


def timemap(count: int) -> Timemap:
    mementos = [
        Memento(
            uri=f"/v1/deals/plant?position={n}",
            datetime=FIRST_INSTANT,
            effective_on=FIRST_INSTANT.date(),
            position=n,
            recorded_at=FIRST_INSTANT,
        )
        for n in range(count)
    ]
    return Timemap(original="/v1/deals/plant", timegate="/v1/deals/plant", mementos=mementos, upcoming=mementos[:1])


@pytest.mark.parametrize("count", [0, 1, 499, 500, 501, 1000, 1234])
def test_pieces_join_to_the_same_json(count: int) -> None:
    assert encode_long(timemap(count)) == encode(timemap(count))


def test_fields_without_items_are_encoded() -> None:
    point = {"effective_on": None, "published_on": None, "recorded_at": None}
    for empty in (
        DealHistory(**point, deal="plant", version=1, position=1, events=[]),
        Provenance(**point, deal="plant", version=1, position=1, fields=[], next="é"),
    ):
        assert encode_long(empty) == encode(empty)


class Bundle(Struct, tag="bundle@v1", tag_field="format"):
    """What a certificate is: a struct that names its format."""

    events: tuple[int, ...]
    name: str = "x"
    state: Bundle | None = None


@pytest.mark.parametrize("count", [0, 3, 1203])
def test_format_of_a_certificate_is_its_first_member(count: int) -> None:
    bundle = Bundle(tuple(range(count)))
    assert encode_long(bundle) == encode(bundle)


@pytest.mark.parametrize("count", [0, 3, 1203])
def test_lists_of_a_member_are_encoded_in_pieces(count: int) -> None:
    bundle = Bundle((), state=Bundle(tuple(range(count)), "é"))
    assert encode_long(bundle) == encode(bundle)


@pytest.mark.parametrize("count", [0, 500, 501, 1203])
def test_pieces_convert_to_the_same_state(count: int) -> None:
    log, _ = pledged(effective="2024-06-16")
    [pledge] = log.state().pledges
    pledges = tuple(replace(pledge, pledge=f"p-{n}", amount=usd(str(n + 1))) for n in range(count))
    deal = replace(log.state(), pledges=pledges)
    assert convert_long(deal, DealFields) == convert(deal, DealFields)
