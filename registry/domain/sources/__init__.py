"""Sources: their identity, and what becomes of events when one is retracted."""
