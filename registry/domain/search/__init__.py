"""Search: the texts of events, and how they are compared with a query."""
