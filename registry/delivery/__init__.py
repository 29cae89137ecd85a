"""Delivery of new events: the feed (server-sent events), webhooks, and watches (events that match a filter)."""
