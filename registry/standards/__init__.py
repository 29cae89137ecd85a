"""The registry's deals in the formats of other communities."""
