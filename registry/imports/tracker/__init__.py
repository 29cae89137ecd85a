"""Imports of trackers: sheets with a row per deal and its current values, published again and again.

    cells.py      the values of a row's cells, through the mapping
    rows.py       the facts that a row states, each as an announcement
    changes.py    what a row changes in its recorded deal
    matching.py   whether a row that is gone continues under another key
    questions.py  what an editor decides, and the file for it
    plan.py       the plan: everything that an edition of a sheet adds to the registry

A row stands alone: a wrong cell refuses its row and no other. A change with several possible meanings is not recorded
but becomes a question. The package is pure but for the `Registry` that it asks for recorded deals.
"""
