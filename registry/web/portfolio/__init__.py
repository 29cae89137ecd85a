"""The pages of all deals: the overview, totals, and the comparison of two points."""
