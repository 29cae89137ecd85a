"""Delivery of new events to clients: the feed (server-sent events) and webhooks."""
