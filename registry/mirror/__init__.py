"""A verifying mirror: a read-only copy of another registry's public log, every entry checked (docs/mirror.md)."""
