"""Sizes of a run: full, quick, and tiny for the tests."""

from __future__ import annotations

from msgspec import Struct


class Sizes(Struct, frozen=True, kw_only=True):
    """How large a run is.

    Args:
        seconds: Duration of a repetition.
        repetitions: Number of repetitions of each comparison.
        questions: Number of repetitions of each question about all deals, after the first time that it is asked.
        small: Deals in the small log.
        large: Deals in the large log.
        huge: Deals in the largest log; 0 to skip it.
        long_deal: Events of the deal with very many events.
        listeners: Idle feed listeners.
        flood: Clients of the overload test.
        partitioned: Events in the log that is partitioned.
        sheet_rows: Rows of the sheets that are imported: six announcements each.
    """

    name: str
    seconds: float
    repetitions: int
    questions: int
    small: int
    large: int
    huge: int
    long_deal: int
    listeners: int
    flood: int
    partitioned: int
    sheet_rows: int


FULL = Sizes(
    name="full",
    seconds=5,
    repetitions=3,
    questions=5,
    small=1_000,
    large=100_000,
    huge=500_000,
    long_deal=10_000,
    listeners=1_000,
    flood=6_000,
    partitioned=2_000_000,
    sheet_rows=50_000,
)
QUICK = Sizes(
    name="quick",
    seconds=2,
    repetitions=3,
    questions=5,
    small=1_000,
    large=10_000,
    huge=0,
    long_deal=2_000,
    listeners=200,
    flood=6_000,
    partitioned=200_000,
    sheet_rows=2_000,
)
TINY = Sizes(
    name="tiny",
    seconds=0.1,
    repetitions=1,
    questions=1,
    small=20,
    large=40,
    huge=120,
    long_deal=30,
    listeners=5,
    flood=20,
    partitioned=1_000,
    sheet_rows=20,
)
