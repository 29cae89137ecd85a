"""The fact tables: every fact of a deal at every point in time, on both axes of knowledge.

`tables.py` declares them. `tracks.py` says which facts depend on which events; `columns.py` and `history.py` find what
an event changes in their history; `rows.py` turns that into changes of rows, and `projection.py` writes these.
"""

from registry.projections.facts.projection import DealFacts
from registry.projections.facts.tables import FACT_TABLES, FactTable

__all__ = ["FACT_TABLES", "DealFacts", "FactTable"]
