"""Runs `registry` commands, each in a process of its own that is forked from this one."""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

import typer

from registry import cli

FILES = 3


def serve(address: str) -> None:
    """Run the commands that are asked for until standard input ends. Returns in the process of a command."""
    command = typer.main.get_command(cli.command())
    # Libraries import more when they are first used. No service listens there.
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        command(["--help"], standalone_mode=False)
        command(["show", "none", "--url", "http://127.0.0.1:1"], standalone_mode=False)
    # The garbage collector leaves out what exists now, so that the forked processes go on sharing its memory.
    gc.collect()
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen(64)
        print("ready", flush=True)  # noqa: T201
        # Processes that wait for a command end unnoticed.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while listening in select.select([listening, sys.stdin], [], [])[0]:
            call, _ = listening.accept()
            with call:
                if os.fork() == 0:
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    listening.close()
                    return run(call)
    os._exit(0)


def run(call: socket.socket) -> None:
    """Return in the process of the command that a call asks for, as if it had been started so."""
    size, files, _, _ = socket.recv_fds(call, 4, FILES)
    with call.makefile("rb") as rest:
        arguments, folder, environment = json.loads(rest.read(int.from_bytes(size)))
    command = os.fork()
    if command != 0:
        for file in files:
            os.close(file)
        _, status = os.waitpid(command, 0)
        call.sendall(bytes([os.waitstatus_to_exitcode(status) % 256]))
        os._exit(0)
    call.close()
    for target, file in enumerate(files):
        os.dup2(file, target)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.argv = arguments
    sys.stdin, sys.stdout = open(0, encoding="utf-8"), open(1, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1)  # noqa: SIM115


if __name__ == "__main__":
    serve(sys.argv[1])
    cli.main()
