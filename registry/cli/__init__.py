"""The `registry` command. Each command, or group of commands, has a module.

A command that fails writes one sentence to standard error and ends with an exit code; a traceback means a bug. To add a
command, write a module with a function `register` and add its name to `COMMANDS`.

Commands share `options.py` (settings as flags), `client.py` and `asking.py` (the service), `server.py` (a service in
this process), `texts.py`, `headings.py` and `summaries.py` (texts and tables), `help.py` and `usage_errors.py`.
"""

from __future__ import annotations

import importlib
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING

from registry.cli.texts import rendered
from registry.errors import (
    BadMapping,
    BadSetting,
    IdConflict,
    IdempotencyConflict,
    Invalid,
    InvalidParameter,
    LogCorrupt,
    NotFound,
    NotJson,
    RegistryError,
    RuleBroken,
    UnreadableRates,
    UnreadableSheet,
    VersionConflict,
)

if TYPE_CHECKING:
    import typer

# Each command and its module, in the order in which the help lists them.
COMMANDS = {
    "demo": "demo",
    "serve": "serve",
    "follow": "mirror",
    "show": "query",
    "list": "query",
    "search": "search",
    "history": "query",
    "provenance": "query",
    "blame": "query",
    "compare": "query",
    "totals": "query",
    "record": "record",
    "import": "imports",
    "proposals": "proposals",
    "organizations": "organizations",
    "export": "export",
    "tail": "tail",
    "watches": "watches",
    "webhooks": "webhooks",
    "mcp": "mcp",
    "migrate": "migrate",
    "keys": "keys",
    "rates": "rates",
    "rebuild": "rebuild",
    "backup": "backup",
    "restore": "backup",
    "verify": "verify",
    "log": "log",
    "mirror": "mirror",
    "doctor": "doctor",
}

USAGE, NOT_FOUND, CONFLICT, INVALID, PROOF = 2, 3, 4, 5, 6
EXIT_CODES: dict[type[RegistryError], int] = {
    BadSetting: USAGE,
    InvalidParameter: USAGE,
    NotFound: NOT_FOUND,
    VersionConflict: CONFLICT,
    RuleBroken: CONFLICT,
    IdempotencyConflict: CONFLICT,
    IdConflict: CONFLICT,
    Invalid: INVALID,
    NotJson: INVALID,
    UnreadableRates: INVALID,
    UnreadableSheet: INVALID,
    BadMapping: INVALID,
    LogCorrupt: PROOF,
}
"""Exit codes of errors; every other error ends a command with 1."""


def command(first: str = "") -> typer.Typer:
    """The command with all its subcommands, or with only `first`, so that the other modules need not be imported."""
    # Imported here, where Ctrl-C is already handled.
    import typer

    from registry.cli.help import Root, translate_app
    from registry.cli.options import common_options

    app = typer.Typer(
        name="registry",
        cls=Root,
        help="A registry of investment commitments whose every answer can be dated, explained and proved.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    # Without a callback, Typer runs a single command as the program itself.
    app.callback()(common_options)
    modules = () if first == "--version" else [COMMANDS[first]] if first in COMMANDS else COMMANDS.values()
    for module in dict.fromkeys(modules):
        importlib.import_module(f"registry.cli.{module}").register(app)
    translate_app(app)
    return app


def main() -> None:
    """Run the command line of this process and end the process."""
    # SIGTERM ends the process as Ctrl-C does, so that what was started is stopped.
    signal.signal(signal.SIGTERM, _exit)
    try:
        command(sys.argv[1] if len(sys.argv) > 1 else "")()
    except KeyboardInterrupt:
        # Typer handles Ctrl-C while a command runs, not while modules are imported.
        sys.exit(130)
    except RegistryError as error:
        print(f"registry: {rendered(error.message)}", file=sys.stderr)  # noqa: T201
        sys.exit(next((EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES), 1))
    except OSError as error:
        # A full disk or an unreadable file is not a bug of ours.
        print(f"registry: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)


def _exit(number: int, frame: FrameType | None) -> None:
    sys.exit(0)
