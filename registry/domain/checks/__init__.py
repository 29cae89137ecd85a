"""Checks that warn: amounts and announcements that are hardly right."""
