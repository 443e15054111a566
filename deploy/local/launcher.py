"""Runs as a script in front of a server: binds its life to the supervisor's, changes the account, becomes the server.

A separate program rather than `preexec_fn`, which must not be used in a process that has threads.
Arguments: the supervisor's pid, the signal that its death means, uid and gid ("-" to keep them), the command.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, death_signal, uid, gid, *command = sys.argv[1:]
    if uid != "-":
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    if sys.platform == "linux":  # after setuid, which forgets the setting
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(death_signal))
    if os.getppid() != int(parent):  # the supervisor died before the line above
        sys.exit(1)
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main()
