"""Organizations: their states, their mentions, and which of them may be duplicates."""
