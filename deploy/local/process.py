"""One managed child process: started in a session of its own, probed until ready, stopped within a budget."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.local.accounts import Account
from deploy.local.errors import NotReady, PortInUse, ProcessDied
from deploy.local.family import POLL_SECONDS, descendants, kill_tree, see_off
from deploy.local.ports import port_is_free

PROBE_SECONDS = 0.05
LAST_LINES = 3
LINE_CHARACTERS = 200
LOG_BYTES = 10_000_000
LAUNCHER = Path(__file__).with_name("launcher.py")


@dataclass(frozen=True, slots=True)
class PortClaim:
    """A port that a process listens on and the setting that changes it."""

    port: int
    setting: str


@dataclass(frozen=True, slots=True)
class Launch:
    """How to run a process. `death_signal` is what Linux sends it when its supervisor is gone."""

    command: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    ports: tuple[PortClaim, ...] = ()
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGKILL
    stop_budget: float = 10.0
    ready_timeout: float = 180.0


@dataclass(eq=False)
class ManagedProcess(ABC):
    """The life of one child process; its output goes to a file, so that nobody has to read it along."""

    name: str
    log: Path
    _child: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)
    _launch: Launch | None = field(default=None, init=False, repr=False)
    _log_start: int = field(default=0, init=False, repr=False)

    @abstractmethod
    async def launch(self) -> Launch:
        """Prepare what the process needs on disk (idempotent) and say how to run it."""

    @abstractmethod
    async def ready(self) -> bool:
        """Whether the process does its work now; False, not an error, while it does not."""

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._child.pid if self._child and self._child.poll() is None else None

    @property
    def exit_code(self) -> int | None:
        """The code of the last run when it ended, negative for a signal."""
        return self._child.poll() if self._child else None

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports of the last run."""
        return tuple(claim.port for claim in self._launch.ports) if self._launch else ()

    async def start(self) -> None:
        """Start and wait until ready. Raises PortInUse, ProcessDied, NotReady; leaves nothing behind then."""
        launch = self._launch = await self.launch()
        for claim in launch.ports:
            if not port_is_free(claim.port):
                raise PortInUse(claim.port, self.name, claim.setting)
        try:
            self._child = self._spawn(launch)
            await self._wait_until_ready(launch.ready_timeout)
        except BaseException:
            await self.kill()
            raise

    async def stop(self) -> None:
        """End it with its stop signal, after the budget with SIGKILL to it and all its descendants."""
        if self._child is None or self._launch is None or self.pid is None:
            return
        helpers = descendants(self.pid)
        with contextlib.suppress(ProcessLookupError):
            self._child.send_signal(self._launch.stop_signal)
        if not await self._ended(self._launch.stop_budget):
            await self.kill()
        await asyncio.to_thread(see_off, helpers)

    async def kill(self) -> None:
        """SIGKILL to it and all its descendants, now."""
        if self.pid is not None:
            kill_tree(self.pid)
            await self._ended(10.0)

    def last_lines(self, count: int = LAST_LINES) -> list[str]:
        """The end of what the present or last run printed."""
        with contextlib.suppress(FileNotFoundError), self.log.open("rb") as file:
            file.seek(max(self._log_start, self.log.stat().st_size - 16_384))
            lines = file.read().decode(errors="replace").splitlines()
            return [line.strip()[:LINE_CHARACTERS] for line in lines if line.strip()][-count:]
        return []

    def died(self) -> ProcessDied:
        """The error that describes its end."""
        return ProcessDied(self.name, self.exit_code or 0, self.log, self.last_lines())

    def _spawn(self, launch: Launch) -> subprocess.Popen[bytes]:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            self.log.replace(self.log.with_suffix(".old"))
        with self.log.open("ab") as output:
            self._log_start = output.tell()
            return subprocess.Popen(
                [*launcher(launch), *launch.command],
                env=dict(launch.env),
                cwd=launch.cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C must reach the supervisor alone, which stops in order
            )

    async def _wait_until_ready(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if await self.ready():
                return
            if self.exit_code is not None:
                raise self.died()
            await asyncio.sleep(PROBE_SECONDS)
        raise NotReady(self.name, seconds, self.log)

    async def _ended(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.exit_code is None and time.monotonic() < deadline:  # noqa: ASYNC110  the kernel sets no Event
            await asyncio.sleep(POLL_SECONDS)
        return self.exit_code is not None


async def all_of(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run all at once; the first failure cancels the others and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for coroutine in work:
                group.create_task(coroutine)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


def launcher(launch: Launch) -> list[str]:
    """What stands before the command, so that kill -9 of the supervisor leaves no orphan (on Linux).

    Linux ties this to the *thread* that starts a process: start from a thread that stays.
    """
    account = [str(launch.account.uid), str(launch.account.gid)] if launch.account else ["-", "-"]
    return [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), str(int(launch.death_signal)), *account]
