"""`up --detach` and `down`: start a supervisor in the background, and stop whichever runs."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from deploy.local.console import Follower
from deploy.local.errors import LocalStackError
from deploy.local.infrastructure import log_of
from deploy.local.run_files import POLL_SECONDS, RunFiles, created, wait_until
from deploy.local.settings import PROJECT

STOP_SECONDS = 90.0
START_SECONDS = 180.0
LOG = "supervisor"
ERROR = "error: "


def detach(state_dir: Path, arguments: Sequence[str]) -> None:
    """Start the supervisor in a session of its own; return when the stack is ready. Raises LocalStackError."""
    log = log_of(state_dir, LOG)
    log.parent.mkdir(parents=True, exist_ok=True)
    progress = Follower(LOG, log)
    progress.skip()
    with log.open("ab") as output:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "deploy.local", "up", "--quiet", *arguments],
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until_ready(supervisor, RunFiles(state_dir), progress)
    except KeyboardInterrupt:
        supervisor.terminate()
        supervisor.wait()
        raise LocalStackError("interrupted, everything is stopped") from None
    supervisor.returncode = 0  # it lives on without us: Popen must not warn of that


def wait_until_ready(supervisor: "subprocess.Popen[bytes]", files: RunFiles, progress: Follower) -> None:
    """Show what the supervisor says until it is ready or gone. Raises LocalStackError with its error, or last line."""
    last, failure = "the supervisor ended without a word", None
    ready = False
    while not ready:
        code, state = supervisor.poll(), files.read()
        ready = state is not None and state.supervisor == supervisor.pid and state.state == "ready"
        for line in progress.step():
            last = line
            if line.startswith(ERROR):  # what was going on beside may have its say after it
                failure = line.removeprefix(ERROR)
            else:
                print(line, flush=True)
        if code is not None:
            raise LocalStackError(failure or last)
        time.sleep(POLL_SECONDS)


def wait_for(files: RunFiles) -> None:
    """Wait until the stack that somebody else started is ready. Raises LocalStackError when it is not."""
    ready = wait_until(lambda: (state := files.read()) is not None and state.state == "ready", START_SECONDS)
    if not ready or files.supervisor() is None:
        raise LocalStackError(f"the running stack did not become ready, see {files.state_dir / 'log'}")


def take_down(state_dir: Path) -> bool:
    """Stop the running supervisor and wait for its end; False when none runs. Leftovers of a killed one go too."""
    files = RunFiles(state_dir)
    pid = files.supervisor()
    if pid is not None:
        began = created(pid)
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            if wait_until(lambda: created(pid) != began, STOP_SECONDS):
                break
    left = files.sweep()
    return pid is not None or bool(left)
