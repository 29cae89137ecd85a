"""The log: what can happen, how it is stored, and how its integrity is proved."""
