"""Reasons of errors of the environment: settings, the bundled Postgres, the database. Each is a code with parameters.

The texts stand in `i18n/locale/LANGUAGE/environment.po`. An error carries its reason as a parameter:
`PostgresUnavailable(reason=PostgresProblem("no_server"))`.
"""

from __future__ import annotations

from registry.i18n import Message


class SettingProblem(Message):
    """Why a setting's value cannot be used."""

    __slots__ = ()
    context = "setting"


class PostgresProblem(Message):
    """Why the bundled Postgres cannot run."""

    __slots__ = ()
    context = "postgres"


class DatabaseProblem(Message):
    """Why a database cannot be used or migrated."""

    __slots__ = ()
    context = "database"
