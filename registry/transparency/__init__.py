"""Transparency."""
