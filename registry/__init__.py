"""A registry of investment commitments: an event-sourced service whose answers can be dated, explained and proved."""

from datetime import date

DISTRIBUTION = "investment-registry"
"""The name of the distribution on package indexes."""

RELEASED_ON = date(2026, 11, 23)
"""The release date, as CHANGELOG.md states it: a clock that shows an earlier day is wrong."""


def version() -> str:
    """The version of this release, as pyproject.toml states it."""
    # Imported here: it takes a tenth of the start of a command, which rarely states its version.
    from importlib import metadata

    return metadata.version(DISTRIBUTION)
