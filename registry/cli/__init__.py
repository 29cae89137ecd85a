"""The `registry` command: one module a command, each translating between a terminal and the rest of the registry.

Says what went wrong in one sentence on standard error, and by an exit code; a traceback means a bug. To add a command:
its module with a function `register`, and its name in `COMMANDS`.
"""

from __future__ import annotations

import importlib
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING

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
    UnreadableSheet,
    VersionConflict,
)

if TYPE_CHECKING:
    import typer

# Each command with its module, in the order in which help lists them.
COMMANDS = {
    "demo": "demo",
    "serve": "serve",
    "show": "query",
    "list": "query",
    "history": "query",
    "blame": "query",
    "compare": "query",
    "totals": "query",
    "record": "record",
    "import": "imports",
    "export": "export",
    "tail": "export",
    "migrate": "migrate",
    "keys": "keys",
    "rebuild": "rebuild",
    "backup": "backup",
    "restore": "backup",
    "verify": "verify",
    "log": "log",
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
    UnreadableSheet: INVALID,
    BadMapping: INVALID,
    LogCorrupt: PROOF,
}
"""What a command ends with when an error ends it; 1 for every other."""


def command(first: str = "") -> typer.Typer:
    """The whole command; only `first` of it where that is one of its words, so that nobody waits for the others."""
    # Imported here, where Ctrl-C is already answered.
    import typer

    app = typer.Typer(
        name="registry",
        help="A registry of investment commitments whose every answer can be dated, explained and proved.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    # Typer shows a lone command as if it were the program itself, unless there is a callback.
    app.callback()(lambda: None)
    for module in [COMMANDS[first]] if first in COMMANDS else dict.fromkeys(COMMANDS.values()):
        importlib.import_module(f"registry.cli.{module}").register(app)
    return app


def main() -> None:
    """Runs the command of this process's arguments, and ends the process."""
    # As with Ctrl-C, everything that was started is stopped on the way out.
    signal.signal(signal.SIGTERM, _exit)
    try:
        command(sys.argv[1] if len(sys.argv) > 1 else "")()
    except KeyboardInterrupt:
        # Typer answers this while a command runs, not while its modules are loaded.
        sys.exit(130)
    except RegistryError as error:
        print(f"registry: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(next((EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES), 1))
    except OSError as error:
        # A full disk, a file that may not be read: not ours to mend, and no bug.
        print(f"registry: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)


def _exit(number: int, frame: FrameType | None) -> None:
    sys.exit(0)
