"""A registry of investment commitments: an event-sourced service whose answers can be dated, explained and proved."""

from importlib import metadata

DISTRIBUTION = "investment-registry"
"""The name of the distribution on package indexes."""


def version() -> str:
    """The version of this release, as pyproject.toml states it."""
    return metadata.version(DISTRIBUTION)
