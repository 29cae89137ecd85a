"""The read path: answers about one deal, the portfolio, organizations and the log.

Every answer states the log position that it was computed at. The same question with that position gives the same
answer, unless an event was redacted since. Queries write nothing.

    deals.py            one deal; related_deals.py, deal_changes.py, deal_errors.py
    portfolio.py        lists, facets and totals of all deals; comparisons.py, search.py
    organizations.py    organizations with a record; named_organizations.py: all that announcements name
    sources.py, log.py  sources; the log. event_filter.py and matching_events.py select events
    principals.py       who a request comes from, and its rights
    streams.py          folded streams from the server of the request; replicas.py chooses the server
    copy_questions.py   questions to the columnar copy; deal_conditions.py: the same filters on folded deals
    imports.py          what imports look up
    preparation.py      what is read before the service is ready
"""
