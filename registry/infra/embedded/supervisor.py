"""A process between the service and its bundled Postgres, so that the server never outlives the service.

Runs as a program of its own with the standard library alone: `python -I -S supervisor.py UID GID DESCRIPTORS COMMAND…`.
Its standard input is a pipe from the service. When the pipe closes, because the service closed it or was killed, the
supervisor shuts Postgres down. The service restarts Postgres (`server.py`), the supervisor does not.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from types import FrameType

PR_SET_PDEATHSIG = 1
FAST, IMMEDIATE = signal.SIGINT, signal.SIGQUIT
SHUTDOWN_STEPS = ((FAST, 60.0), (IMMEDIATE, 10.0), (signal.SIGKILL, 10.0))


def main(uid: int, gid: int, command: list[str], keep: tuple[int, ...]) -> int:
    """Run `command` as `uid` until it ends or standard input closes; return its exit code."""

    def ignore(number: int, frame: FrameType | None) -> None:
        # The service decides when to end. SIG_IGN would be inherited by Postgres, a handler is not.
        pass

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ignore)
    libc = ctypes.CDLL(None)

    def die_with_this_process() -> None:
        # Ends Postgres if this process is killed (Linux). Set after the change of user, which clears it.
        if sys.platform == "linux":
            libc.prctl(PR_SET_PDEATHSIG, FAST)

    other = uid != os.geteuid()
    server = subprocess.Popen(  # noqa: S603
        command,
        stdin=subprocess.DEVNULL,
        cwd="/",
        pass_fds=keep,
        preexec_fn=die_with_this_process,
        user=uid if other else None,
        group=gid if other else None,
        extra_groups=() if other else None,
    )

    def stop() -> None:
        while os.read(0, 1):
            pass
        for number, seconds in SHUTDOWN_STEPS:
            server.send_signal(number)
            try:
                server.wait(seconds)
            except subprocess.TimeoutExpired:
                continue
            return

    threading.Thread(target=stop, daemon=True).start()
    return int(server.wait())


if __name__ == "__main__":
    uid, gid, fds, *rest = sys.argv[1:]
    code = main(int(uid), int(gid), rest, tuple(map(int, fds.split(","))) if fds else ())
    # Not sys.exit(), which would wait for the thread that reads standard input.
    os._exit(code if code >= 0 else 128 - code)
