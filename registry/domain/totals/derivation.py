"""The derivation of a total as a tree, for readers who check it by hand."""

from __future__ import annotations

from collections.abc import Mapping

from registry.domain.totals.results import DerivationNode, TotalsColumn, TotalsLine


def derive(
    key: str | None,
    columns: tuple[TotalsColumn, ...],
    lines: tuple[TotalsLine, ...],
    included_in: Mapping[str, str],
    more: int,
) -> DerivationNode:
    """The derivation of one group: a node per column, its pledges, and under each pledge those that it includes.

    Args:
        included_in: The name of the pledge that contains it (`DEAL/PLEDGE`), by the name of each pledge that is a part.
        more: How many pledges `lines` omits.
    """
    listed = {_name(line): line for line in lines}
    explanations = {rule: str(rule.text) for rule in {line.rule for line in lines}}
    parts: dict[str, list[TotalsLine]] = {}
    for name, whole in included_in.items():
        if name in listed and whole in listed and not listed[name].rule.counts:
            parts.setdefault(whole, []).append(listed[name])
    nested = {_name(line) for lines_of_whole in parts.values() for line in lines_of_whole}

    def node(line: TotalsLine) -> DerivationNode:
        # A nested pledge has no parts of its own in the tree, so the tree is at most two pledges deep.
        name = _name(line)
        steps = [_conversion(line)] if line.rate is not None and line.stated is not None else []
        if name not in nested:
            steps += [node(part) for part in parts.get(name, ())]
        return DerivationNode(
            label=name,
            operation="count" if line.rule.counts else "leave_out",
            why=line.reason or explanations[line.rule],
            low=line.low,
            high=line.high,
            currency=line.currency,
            rule=line.rule,
            deal=line.deal,
            pledge=line.pledge,
            because=line.because,
            events=line.events,
            flags=line.flags,
            stated=line.stated,
            children=tuple(steps),
        )

    top_level = [line for line in lines if _name(line) not in nested]
    sums = [
        _sum(column, tuple(node(line) for line in top_level if line.rule.counts and _is_in_column(line, column)))
        for column in columns
    ]
    excluded = tuple(node(line) for line in top_level if not line.rule.counts)
    if excluded:
        sums.append(DerivationNode(label="left out", operation="leave_out", children=excluded))
    if more:
        sums.append(DerivationNode(label=f"{more} more pledges, not listed", operation="count", pledges=more))
    return DerivationNode(label=key or "total", operation="list", children=tuple(sums))


def _sum(column: TotalsColumn, pledges: tuple[DerivationNode, ...]) -> DerivationNode:
    return DerivationNode(
        label=", ".join(part for part in (column.nature, column.basis, column.currency or column.unit) if part),
        operation="add",
        low=column.low,
        high=column.high,
        currency=column.currency,
        nature=column.nature,
        basis=column.basis,
        children=pledges,
    )


def _is_in_column(line: TotalsLine, column: TotalsColumn) -> bool:
    return (line.currency, line.unit, line.nature, line.basis) == (
        column.currency,
        column.unit,
        column.nature,
        column.basis,
    )


def _name(line: TotalsLine) -> str:
    return f"{line.deal}/{line.pledge}"


def _conversion(line: TotalsLine) -> DerivationNode:
    assert line.rate is not None
    assert line.stated is not None
    label = f"{line.stated.currency} to {line.currency} at the rate of {line.rate.day}"
    return DerivationNode(label=label, operation="convert", rate=line.rate, stated=line.stated)
