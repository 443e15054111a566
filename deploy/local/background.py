"""`up --detach` and `down`: start a supervisor in the background, and stop whichever runs."""

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
from deploy.local.run_files import POLL_SECONDS, RunFiles, wait_until
from deploy.local.settings import PROJECT

STOP_SECONDS = 90.0
LOG = "supervisor"


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
    """Show what the supervisor says until it is ready or gone. Raises LocalStackError with its last line."""
    last = "the supervisor ended without a word"
    ready = False
    while not ready:
        code, state = supervisor.poll(), files.read()
        ready = state is not None and state.supervisor == supervisor.pid and state.state == "ready"
        for line in progress.step():
            last = line
            if code is None:
                print(line, flush=True)
        if code is not None:
            raise LocalStackError(last.removeprefix("error: "))
        time.sleep(POLL_SECONDS)


def take_down(state_dir: Path) -> bool:
    """Stop the running supervisor and wait for its end; False when none runs. Leftovers of a killed one go too."""
    files = RunFiles(state_dir)
    pid = files.supervisor()
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        if not wait_until(lambda: files.supervisor() != pid, STOP_SECONDS):
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: files.supervisor() != pid, STOP_SECONDS)
    left = files.sweep()
    return pid is not None or bool(left)
