"""The Python processes of a stack: the eight services, and the setup step before them."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

from deploy.local.process import Launch, ManagedProcess, PortClaim
from deploy.local.settings import PROJECT

PROBE_TIMEOUT = aiohttp.ClientTimeout(total=2)


@dataclass(eq=False)
class ServiceProcess(ManagedProcess):
    """One replica of a service; ready when its `/readyz` answers 200."""

    service: str
    port: int
    env: Mapping[str, str]
    port_setting: str

    async def launch(self) -> Launch:
        return Launch(
            command=(sys.executable, "-m", f"services.{self.service}.app"),
            env=self.env,
            cwd=PROJECT,
            ports=(PortClaim(self.port, self.port_setting),),
            stop_budget=15.0,
        )

    async def ready(self) -> bool:
        try:
            async with (
                aiohttp.ClientSession(timeout=PROBE_TIMEOUT) as session,
                session.get(f"http://127.0.0.1:{self.port}/readyz") as answer,
            ):
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False


@dataclass(eq=False)
class SetupStep(ManagedProcess):
    """Roles, topics and migrations; "ready" once it has ended well."""

    env: Mapping[str, str]

    async def launch(self) -> Launch:
        command = (sys.executable, "-m", "deploy.setup", "all")
        return Launch(command, self.env, PROJECT, ready_timeout=120.0)

    async def ready(self) -> bool:
        return self.exit_code == 0
