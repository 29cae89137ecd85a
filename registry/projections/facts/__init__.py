"""The fact tables: every fact of a deal at every point on the effective, published and recorded axes.

`tables.py` declares them. `groups.py` reads the history of each fact from the fold; `sweep_line.py` and `sweeps.py`
fold it for all publication days at once; `changes.py` compares the folds before and after an event; `rows.py` turns the
difference into changes of rows, and `projection.py` writes these.
"""

from registry.projections.facts.projection import DealFacts
from registry.projections.facts.tables import FACT_TABLES, TABLE_OF, FactTable
