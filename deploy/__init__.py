"""Scripts for operators and releases."""
