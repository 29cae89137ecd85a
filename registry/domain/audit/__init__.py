"""Explanations of a state: what each event changed, what set each field, and what differs between two points in time.

A change has one of four kinds, which are never mixed: the `world` changed, the `record` was wrong, a `source` gave or
retracted a value (or an editor selected another source's value), or the record `learned_late` of an older event. All of
it is derived from the fold that gives the state (`domain/history.py`); nothing here reads a clock or a database.
"""
