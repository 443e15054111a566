"""One process under supervision: what it is meant to do, and how often it died lately."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from deploy.local.errors import LocalStackError, ProcessDied
from deploy.local.process import ManagedProcess
from deploy.local.run_files import ProcessState, created
from deploy.local.service import ServiceProcess, SetupStep

START_ATTEMPTS = 3
QUICK_DEATHS = 5
QUICK_SECONDS = 60.0
BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 10.0


def backoff(deaths: int) -> float:
    """Seconds to wait after the n-th death in a row: doubles, up to a limit."""
    return min(BACKOFF_SECONDS * 2.0 ** (deaths - 1), LONGEST_BACKOFF_SECONDS)


@dataclass(eq=False)
class Supervised:
    """States: stopped, starting, running, done (the setup step), restarting, failed (given up), killed (on purpose)."""

    process: ManagedProcess
    say: Callable[[str], None]
    state: str = "stopped"
    restarts: int = 0
    deaths: deque[float] = field(default_factory=deque)
    reviving: asyncio.Task[None] | None = None

    @property
    def is_dead(self) -> bool:
        """Whether it should run and does not."""
        return self.state == "running" and self.process.pid is None

    async def start(self) -> None:
        self.state = "starting"
        try:
            await self.process.start()
        except BaseException:
            self.state = "failed"
            raise
        self.state = "done" if isinstance(self.process, SetupStep) else "running"

    async def start_patiently(self) -> None:
        """As `start`, but a service that dies at once gets further attempts."""
        attempts = START_ATTEMPTS if isinstance(self.process, ServiceProcess) else 1
        for attempt in range(1, attempts):
            try:
                return await self.start()
            except ProcessDied as death:
                self.say(f"{death}; trying again")
                await asyncio.sleep(backoff(attempt))
        return await self.start()

    async def stop(self) -> None:
        await self.give_up_reviving()
        self.state = "stopping"
        await self.process.stop()
        self.state = "stopped"

    async def kill(self) -> None:
        """kill -9, and stay down."""
        await self.give_up_reviving()
        self.state = "killed"
        await self.process.kill()

    async def give_up_reviving(self) -> None:
        if self.reviving is not None:
            self.reviving.cancel()
            await asyncio.gather(self.reviving, return_exceptions=True)
            self.reviving = None

    def on_death(self) -> None:
        """Start it again after a pause, unless it died too often lately; one line either way."""
        deaths = self.count_death(time.monotonic())
        if deaths > QUICK_DEATHS:
            self.state = "failed"
            self.say(f"{self.process.died()}; given up after {deaths} deaths in {QUICK_SECONDS:.0f} s")
            return
        pause = backoff(deaths)
        self.state = "restarting"
        self.say(f"{self.process.died()}; starting it again in {pause:.1f} s")
        self.reviving = asyncio.create_task(self._revive(pause))

    def count_death(self, now: float) -> int:
        """Note a death; the number of those within the last minute."""
        self.deaths.append(now)
        while now - self.deaths[0] > QUICK_SECONDS:
            self.deaths.popleft()
        return len(self.deaths)

    async def _revive(self, pause: float) -> None:
        await asyncio.sleep(pause)
        self.restarts += 1
        try:
            await self.start()
            self.say(f"{self.process.name} is ready again")
        except ProcessDied:
            self.state = "running"  # it is not, which the watch finds, counts and reports
        except LocalStackError as error:
            self.say(str(error))

    def shown(self) -> ProcessState:
        pid = self.process.pid
        return ProcessState(self.process.name, self.state, pid, created(pid), self.restarts, self.process.ports)
