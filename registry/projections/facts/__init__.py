"""The fact tables: every fact of a deal at every point in time, on both axes of knowledge.

`tables.py` declares them; `runs.py` finds what an event changes in the history of a fact; `rows.py` turns that into
changes of rows; `projection.py` writes them.
"""

from registry.projections.facts.projection import DealFacts
from registry.projections.facts.tables import FACT_TABLES, FactTable

__all__ = ["FACT_TABLES", "DealFacts", "FactTable"]
