"""Propose announcements from the text of an article, by rules and without any outside service.

`extract` reads one article in Korean or English. What it proposes is for a person to accept, change or drop: each
announcement comes with the sentence that it rests on, and nothing is recorded.
"""

from registry.extraction.names import KnownOrganization
from registry.extraction.proposals import Article, ProposedDeal, extract
