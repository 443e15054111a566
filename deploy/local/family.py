"""A process and those below it."""

import contextlib
import time

import psutil

LINGER_SECONDS = 5.0
POLL_SECONDS = 0.01


def descendants(pid: int) -> list[psutil.Process]:
    """All processes below one, also those in sessions of their own (as PostgreSQL's are)."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def runs(process: psutil.Process) -> bool:
    """Whether it still runs; one that ended and was not yet collected by its new parent does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def all_ended(family: list[psutil.Process], seconds: float) -> bool:
    """Wait until none of them runs; whether that came in time."""
    deadline = time.monotonic() + seconds
    while any(runs(process) for process in family):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def kill_all(family: list[psutil.Process]) -> None:
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    all_ended(family, LINGER_SECONDS)


def see_off(family: list[psutil.Process]) -> None:
    """Wait a little for processes that end by themselves when their parent has gone, then kill them."""
    if not all_ended(family, LINGER_SECONDS):
        kill_all(family)


def kill_tree(pid: int) -> None:
    """SIGKILL a process and its descendants, itself first, so that it starts no further ones."""
    with contextlib.suppress(psutil.NoSuchProcess):
        kill_all([psutil.Process(pid), *descendants(pid)])
