"""Stages of deals: the ladder, and the stage through time."""
