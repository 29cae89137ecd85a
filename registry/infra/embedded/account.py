"""Run a program as a user without an account, for programs that insist on one: initdb and `postgres --single`.

They look up the name of their user and end if it has none. In a user namespace of its own (user_namespaces(7)) the
program sees the number of an account, and outside of it is the user without one. Root only, Linux only. Run as a
script: `account.py UID GID COMMAND…`.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import sys

CLONE_NEWUSER = 0x10000000

# The code if there can be no namespace, such as in a container whose root may not make one.
NO_NAMESPACE = 77


def main(uid: int, gid: int, command: list[str]) -> int:
    """Run a command as `uid` and return its exit code."""
    account = pwd.getpwuid(65_534) if _exists(65_534) else min(pwd.getpwall(), key=lambda a: (a.pw_uid == 0, a.pw_uid))
    is_unshared, unshared = os.pipe()
    mapped, is_mapped = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER) != 0:
                os._exit(NO_NAMESPACE)
            os.write(unshared, b"x")
            if os.read(mapped, 1) != b"x":
                os._exit(NO_NAMESPACE)
            os.setgroups([])
            os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
            os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)
            os.execv(command[0], command)  # noqa: S606
        except OSError:
            os._exit(NO_NAMESPACE)
    os.close(unshared)
    try:
        if os.read(is_unshared, 1) == b"x":
            for name, inside, outside in (("gid_map", account.pw_gid, gid), ("uid_map", account.pw_uid, uid)):
                with open(f"/proc/{child}/{name}", "w") as file:  # noqa: PTH123 - pathlib is slow to import
                    file.write(f"{inside} {outside} 1")
            os.write(is_mapped, b"x")
    except OSError:
        pass
    os.close(is_mapped)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _exists(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


if __name__ == "__main__":
    os.umask(0o077)
    given_uid, given_gid, *rest = sys.argv[1:]
    sys.exit(main(int(given_uid), int(given_gid), rest))
