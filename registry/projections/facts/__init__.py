"""The fact tables: every fact of a deal at every point in time, on both axes of knowledge.

`tables.py` declares them. `tracks.py` reads the histories that the fold keeps of each fact; `sweep_line.py` and
`sweeps.py` fold them for all publication days at once; `changes.py` finds what an event changes there; `rows.py` turns
that into changes of rows, and `projection.py` writes these.
"""

from registry.projections.facts.projection import DealFacts
from registry.projections.facts.tables import FACT_TABLES, TABLE_OF, FactTable
