"""The services of one installation as real processes, which a test may kill and start again."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from pydantic import SecretStr

from cli.client import Gateway
from cli.settings import OperatorSettings
from cli.tokens import development_token
from deploy.local.process import all_of
from deploy.local.service import ServiceProcess
from tests.support.in_process import free_ports
from tests.support.platform import JWT_SECRET, Platform

# Where workers are killed: their jobs pass on sooner than the fifteen seconds of an installation.
SHORT_LEASE = {"TIDEMARK_JOB_LEASE": "PT5S"}
FINAL_STATES = frozenset({"completed", "partial", "failed", "cancelled"})


def token(tenant: UUID | None, *roles: str, user: str = "tester") -> str:
    """A token as an identity provider would issue it."""
    return development_token(OperatorSettings(jwt_secret=SecretStr(JWT_SECRET)), tenant, roles, user)


@dataclass(frozen=True, slots=True)
class Running:
    """The gateway's address and the processes by name (`aggregator`, `aggregator-2`, …)."""

    gateway_url: str
    processes: Mapping[str, ServiceProcess]

    def client(self, tenant: UUID | None, *roles: str) -> Gateway:
        """A client of the gateway; use it as a context manager."""
        return Gateway(self.gateway_url, token(tenant, *roles))

    async def new_tenant(self) -> UUID:
        """A tenant of its own for a test."""
        async with self.client(None, "superuser") as gateway:
            name = f"tenant-{uuid4().hex[:8]}"
            return UUID((await gateway.post("/tenants", {"name": name, "slug": name}))["id"])

    async def kill(self, name: str) -> None:
        """kill -9."""
        await self.processes[name].kill()

    async def restart(self, name: str) -> None:
        """Start again what was killed or stopped."""
        await self.processes[name].start()


def _process(name: str, port: int, env: Mapping[str, str], logs: Path) -> ServiceProcess:
    service = name.split("-")[0]
    inherited = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    return ServiceProcess(name, logs / f"{name}.log", service, port, inherited | dict(env), "TIDEMARK_HTTP_PORT")


@asynccontextmanager
async def running_services(
    platform: Platform, logs: Path, names: tuple[str, ...] = ("log_miner", "aggregator"), **env: str
) -> AsyncIterator[Running]:
    """Gateway and the named services; a name with a suffix (`aggregator-2`) is another replica. `env`: more of the
    services' environment.
    """
    ports = free_ports(*names, "gateway")
    upstreams = {name: port for name, port in ports.items() if "-" not in name and name != "gateway"}
    processes = {
        name: _process(name, ports[name], platform.environment(name.split("-")[0], ports[name], **env), logs)
        for name in names
    }
    gateway_env = platform.gateway_environment(ports["gateway"], upstreams)
    processes["gateway"] = _process("gateway", ports["gateway"], gateway_env, logs)
    try:
        await all_of(process.start() for process in processes.values())
        yield Running(f"http://127.0.0.1:{ports['gateway']}", processes)
    finally:
        await asyncio.gather(*(process.stop() for process in processes.values()))


async def eventually(check: Callable[[], Any], seconds: float = 120.0, pause: float = 0.1) -> Any:
    """The first truthy result of an async check; AssertionError when none comes in time.

    The limit is for a machine that is many times slower: nothing waits for it where all goes well. The last check is
    one that began behind it, however long those before took.
    """
    deadline = time.monotonic() + seconds
    while True:
        last = time.monotonic() >= deadline
        result = await check()
        if result:
            return result
        if last:
            raise AssertionError(f"not so within {seconds} s: {getattr(check, '__doc__', None) or check}")
        await asyncio.sleep(pause)


async def finished_job(gateway: Gateway, job: str, seconds: float = 300.0) -> dict[str, Any]:
    """A job once it is in a final state."""

    async def final() -> dict[str, Any] | None:
        state: dict[str, Any] = await gateway.get(job)
        return state if state["state"] in FINAL_STATES else None

    outcome: dict[str, Any] = await eventually(final, seconds)
    return outcome
