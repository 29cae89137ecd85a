"""Maintenance of a registry: backup and restore."""
