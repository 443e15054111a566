"""The supervisor: starts the stages in order, restarts what dies, stops in reverse."""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from deploy.local.console import say as print_line
from deploy.local.environment import Environment, clock_offset
from deploy.local.errors import UnknownProcess
from deploy.local.infrastructure import Infrastructure
from deploy.local.plan import Stage, chosen, further_replica, stages
from deploy.local.process import all_of
from deploy.local.run_files import RunFiles, StackState
from deploy.local.secret_file import SecretFile, write_private
from deploy.local.service import ServiceProcess
from deploy.local.settings import LocalSettings
from deploy.local.supervised import Supervised

WATCH_SECONDS = 0.2


class Stack:
    """A local stack, for the command line and for tests that break it:

    `async with Stack(settings) as stack: await stack.kill("aggregator"); await stack.restart("kafka")`.
    """

    def __init__(
        self,
        settings: LocalSettings,
        only: Collection[str] = (),
        *,
        clock: str | None = None,
        say: Callable[[str], None] = print_line,
    ) -> None:
        names = chosen(only)
        state_dir = settings.state_dir
        infrastructure = Infrastructure(settings, names)
        offset = clock_offset(clock, state_dir / "clock.json", datetime.now(UTC))
        self.settings = settings
        self.infrastructure = infrastructure
        self.environment = Environment(infrastructure, SecretFile(state_dir / "secrets.json"), offset)
        self.stages = stages(infrastructure, self.environment, names)
        self.known = {p.name: Supervised(p, say) for stage in self.stages for p in stage.processes}
        self._say = say
        self._files = RunFiles(state_dir)
        self._held = contextlib.ExitStack()
        self._watching: asyncio.Task[None] | None = None

    @property
    def env(self) -> dict[str, str]:
        """The operator's environment: the gateway's address, how to make tokens, the warehouse's address."""
        return self.environment.operator()

    async def start(self) -> None:
        """Start every stage. Raises a LocalStackError, and leaves nothing running then."""
        self._held.enter_context(self._files.held())
        try:
            if left := self._files.sweep():
                self._say(f"removed what an earlier supervisor left: {', '.join(left)}")
            write_private(self.settings.state_dir / "operator.env", self._operator_file())
            for stage in self.stages:
                await self._start_stage(stage)
        except BaseException:
            await self.stop()
            raise
        self._publish("ready")
        self._watching = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Stop every stage in reverse, each process within its budget."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        for stage in reversed(self.stages):
            await asyncio.gather(*(supervised.stop() for supervised in self._of_stage(stage)))
        self._publish("stopped")
        self._held.close()

    async def kill(self, name: str) -> None:
        """kill -9; the process stays down until `restart`. (One killed from outside is started again.)"""
        await self._of(name).kill()
        self._publish("ready")

    async def restart(self, name: str) -> None:
        """Stop the process where it runs, start it, and wait until it is ready."""
        supervised = self._of(name)
        await supervised.stop()
        await supervised.start()
        self._publish("ready")

    async def add_replica(self, service: str) -> str:
        """Start another replica of a service on a free port; its name."""
        first = self._of(service).process
        number = sum(p.service == service for p in self._services()) + 1
        replica = further_replica(self.environment, service, number)
        index = next(i for i, stage in enumerate(self.stages) if first in stage.processes)
        self.stages[index] = Stage(self.stages[index].name, (*self.stages[index].processes, replica))
        supervised = self.known[replica.name] = Supervised(replica, self._say)
        await supervised.start()
        self._publish("ready")
        return replica.name

    def port(self, name: str) -> int:
        """The HTTP port of a replica of a service."""
        process = self._of(name).process
        if not isinstance(process, ServiceProcess):
            raise UnknownProcess(name, [p.name for p in self._services()])
        return process.port

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _services(self) -> list[ServiceProcess]:
        return [s.process for s in self.known.values() if isinstance(s.process, ServiceProcess)]

    def _of(self, name: str) -> Supervised:
        if name not in self.known:
            raise UnknownProcess(name, list(self.known))
        return self.known[name]

    def _of_stage(self, stage: Stage) -> list[Supervised]:
        return [self.known[process.name] for process in stage.processes]

    def _operator_file(self) -> str:
        return "".join(f"{name}={value}\n" for name, value in self.env.items())

    async def _start_stage(self, stage: Stage) -> None:
        began = time.monotonic()
        self._publish("starting")
        await all_of(supervised.start_patiently() for supervised in self._of_stage(stage))
        self._publish("starting")
        names = ", ".join(process.name for process in stage.processes)
        self._say(f"{stage.name} ready in {time.monotonic() - began:.1f} s ({names})")

    async def _watch(self) -> None:
        published = None
        while True:
            for supervised in list(self.known.values()):
                if supervised.is_dead:
                    supervised.on_death()
            shown = tuple((s.state, s.process.pid) for s in self.known.values())
            if shown != published:
                self._publish("ready")
                published = shown
            await asyncio.sleep(WATCH_SECONDS)

    def _publish(self, state: str) -> None:
        """Write down who runs, for `status` and for the next supervisor should this one be killed."""
        shown = tuple(supervised.shown() for supervised in self.known.values())
        self._files.write(StackState(os.getpid(), state, shown))
