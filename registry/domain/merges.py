"""Merged records: which record stands for another one, and what a relation to a merged deal counts for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from registry.events.values import Relation


def survivor(slug: str, merged: Mapping[str, str]) -> str:
    """The record that another one was merged into, directly or through others.

    A record that was not merged is its own survivor, and so is one whose merges form a cycle (none is ever recorded).

    Args:
        slug: The record.
        merged: What each merged record was merged into.
    """
    current, visited = slug, {slug}
    while (into := merged.get(current)) is not None:
        if into in visited:
            return slug
        visited.add(into)
        current = into
    return current


def merged_with(slug: str, merged: Mapping[str, str]) -> set[str]:
    """The records that were merged into this one, directly or through others, and itself."""
    return {slug, *(duplicate for duplicate in merged if survivor(duplicate, merged) == slug)}


def redirected_pledge(
    relation: Relation | None, pledge: str | None, pledges: Collection[str]
) -> tuple[str | None, bool]:
    """What a relation to a merged deal, or to a pledge of it, counts for in the deal that it was merged into.

    It counts for the pledge with the same id, or for the whole deal if there is none. A deal does not supersede a
    whole deal because it superseded one pledge of a duplicate: such a relation has no effect.

    Args:
        relation: The relation; None for a pledge that is additional to another.
        pledge: The merged deal's pledge, None for the whole deal.
        pledges: The pledges of the deal that it was merged into.

    Returns:
        The pledge (None: the whole deal), and whether the relation has an effect.
    """
    if pledge is None or pledge in pledges:
        return pledge, True
    return None, relation != "supersedes"


def redirected(
    relation: Relation | None,
    key: tuple[str, str | None],
    merged: Mapping[str, str],
    pledges_of: Callable[[str], Collection[str]],
) -> tuple[str, str | None] | None:
    """The deal, or pledge of a deal, that a relation to `key` counts for; None if it has no effect.

    Args:
        relation: As of `redirected_pledge`.
        key: The deal that the relation names, and its pledge if it names one.
        merged: What each merged deal was merged into.
        pledges_of: The pledges of a deal.
    """
    deal, pledge = key
    into = survivor(deal, merged)
    if into == deal:
        return key
    pledge, has_effect = redirected_pledge(relation, pledge, pledges_of(into))
    return (into, pledge) if has_effect else None
