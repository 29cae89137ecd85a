"""Texts with the words marked in which they differ."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from registry.formatting.word_diff import word_diff


def test_only_the_words_that_differ_are_marked() -> None:
    old, new = word_diff("약 2조 4,000억 원", "약 2조 5,000억 원")
    assert old == ((False, "약 2조 "), (True, "4,000억"), (False, " 원"))
    assert new == ((False, "약 2조 "), (True, "5,000억"), (False, " 원"))
    assert word_diff("US$5bn", "about US$5bn") == (((False, "US$5bn"),), ((True, "about "), (False, "US$5bn")))
    assert word_diff("a hall of one", "a hall for two")[0] == ((False, "a hall "), (True, "of one"))
    conversion = word_diff("2조 원(18억 달러)", "2조 원(약 18억 달러)")
    assert conversion == (
        ((False, "2조 원"), (True, "(18억"), (False, " 달러)")),
        ((False, "2조 원"), (True, "(약 18억"), (False, " 달러)")),
    )
    # Nothing in common but a gap, and nothing at all.
    assert word_diff("US$5.1bn here", "₩7tn there") == (((True, "US$5.1bn here"),), ((True, "₩7tn there"),))
    assert word_diff(None, "x y") == ((), ((True, "x y"),))
    long = "word " * 1_000
    assert word_diff(long, long + "more") == (((True, long),), ((True, long + "more"),))


@given(st.text("ab \n", max_size=30), st.text("ab \n", max_size=30))
def test_pieces_join_to_the_original_texts(before: str, after: str) -> None:
    for text, side in zip((before, after), word_diff(before, after), strict=True):
        assert "".join(piece for _, piece in side) == text
    for one, other in (word_diff(before, after), word_diff(after, before)):
        assert [t for differs, t in one if not differs and not t.isspace()] == [
            t for differs, t in other if not differs and not t.isspace()
        ] or before.split() != after.split()
