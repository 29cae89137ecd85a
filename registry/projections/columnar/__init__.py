"""A columnar copy of the fact tables in DuckDB, for questions that scan all deals.

`tables.py` derives its tables from those of Postgres; `files.py` keeps the file of a process; `copy.py` follows the log
and answers questions. The other modules are the questions: each has its SQL and what it returns.
"""

from registry.projections.columnar.copy import ColumnarCopy
