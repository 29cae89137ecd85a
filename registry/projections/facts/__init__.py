"""The fact tables: every fact of a deal at every point in time, on both axes of knowledge.

`tables.py` declares them. `tracks.py` says which facts depend on which events; `columns.py` and `history.py` find what an
event changes in the history of the facts; `rows.py` turns that into changes of rows, which `projection.py` writes.
"""

from registry.projections.facts.projection import DealFacts
from registry.projections.facts.tables import FACT_TABLES, FactTable

__all__ = ["FACT_TABLES", "DealFacts", "FactTable"]
