"""The files by which commands find a running stack: a lock that the supervisor holds, and its latest state."""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from deploy.local.errors import AlreadyRunning
from deploy.local.family import kill_tree, runs

POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class ProcessState:
    """One process as `status` shows it; `created` tells a process id from a later one with the same number."""

    name: str
    state: str
    pid: int | None = None
    created: float | None = None
    restarts: int = 0
    ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class StackState:
    supervisor: int
    state: str
    processes: tuple[ProcessState, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The directory `run/` of a state directory."""

    state_dir: Path

    @property
    def lock(self) -> Path:
        return self.state_dir / "run" / "lock"

    @property
    def state(self) -> Path:
        return self.state_dir / "run" / "stack.json"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock of the only supervisor; the kernel lets go of it however that ends. Raises AlreadyRunning."""
        self.lock.parent.mkdir(parents=True, exist_ok=True)
        with self.lock.open("a+") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AlreadyRunning(self.supervisor(), self.state_dir) from None
            handle.truncate(0)
            handle.write(str(os.getpid()))
            handle.flush()
            yield

    def supervisor(self) -> int | None:
        """The process id of the running supervisor."""
        with contextlib.suppress(FileNotFoundError, ValueError), self.lock.open() as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(handle.read())
        return None

    def write(self, state: StackState) -> None:
        fresh = self.state.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(state)))
        fresh.rename(self.state)

    def read(self) -> StackState | None:
        """The latest state that a supervisor wrote, who may be gone by now."""
        try:
            raw = json.loads(self.state.read_text())
        except FileNotFoundError:
            return None
        processes = tuple(ProcessState(**{**p, "ports": tuple(p["ports"])}) for p in raw["processes"])
        return StackState(raw["supervisor"], raw["state"], processes)

    def sweep(self) -> list[str]:
        """Kill what a killed supervisor left behind (only where the system could not do it); the names of it."""
        known = self.read()
        left = [p for p in known.processes if is_alive(p)] if known else []
        for process in left:
            kill_tree(process.pid or 0)
        wait_until(lambda: not any(is_alive(p) for p in left), 10.0)
        return [process.name for process in left]


def created(pid: int | None) -> float | None:
    """When a process began, None when there is none (one that ended and waits for its parent counts as none)."""
    try:
        process = psutil.Process(pid) if pid else None
        return process.create_time() if process and runs(process) else None
    except psutil.NoSuchProcess:
        return None


def is_alive(process: ProcessState) -> bool:
    return process.pid is not None and created(process.pid) == process.created is not None


def wait_until(done: Callable[[], bool], seconds: float) -> bool:
    """Poll a condition; whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not (answer := done()) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return answer
