"""The pages of a deal: its state and history, the comparison of two points, and the source of each field."""
