"""Totals of pledges, as an interval, with the rule by which each pledge counts.

The lower bound excludes possible double counting; the upper bound includes it. A pledge that is recorded as part of
another one that counts is in neither, so an aggregate and its members are never added. Intentions, commitments and
amounts per year are separate columns. Figures are exact decimals; amounts are converted only on request, and the
result lists every rate used.

The package is pure: it takes rows and returns figures, and reads neither a clock nor a database.
"""

from registry.domain.totals.builder import TotalsBuilder, compute_totals, with_both_sums, without_estimates
from registry.domain.totals.measures import Measure, MetricRow, SiteRow, measured, measured_row
from registry.domain.totals.results import (
    GROUPINGS,
    DerivationNode,
    Estimates,
    Group,
    Totals,
    TotalsColumn,
    TotalsLine,
    TotalsQuery,
)
from registry.domain.totals.rows import (
    DealRow,
    PledgeRow,
    RelationRow,
    row_of,
)
from registry.domain.totals.rules import Rule
from registry.domain.totals.sums import NO_COLUMN, AmountSum, GroupKey, RunningSums, Sums
