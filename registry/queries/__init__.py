"""The read path: answers about one deal, the portfolio, organizations and the log.

Every answer states the log position that it was computed at. The same question with that position gives the same
answer, unless an event was redacted since. Queries write nothing.
"""
