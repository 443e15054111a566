"""One OpenSearch node on a port of 127.0.0.1, in a process of its own."""

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from deploy.local.artifacts import ArtifactStore, java
from deploy.local.postgres import server_environment
from deploy.local.process import Launch, ManagedProcess, PortClaim
from deploy.local.settings import PROJECT

_PROBE: Final = aiohttp.ClientTimeout(total=2)


@dataclass(eq=False)
class OpenSearchNode(ManagedProcess):
    """A node without accounts; its data is kept between starts."""

    port: int
    state_dir: Path
    artifacts: ArtifactStore
    port_setting: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def launch(self) -> Launch:
        jars = await asyncio.to_thread(self.artifacts.opensearch)
        java()  # says so where the wheel is missing
        home = self.state_dir / self.name
        home.mkdir(parents=True, exist_ok=True)
        arguments = ("-m", "deploy.local.opensearch_node", str(jars), str(home), str(self.port))
        return Launch(
            command=(sys.executable, *arguments),
            env=server_environment() | {"HOME": str(home)},
            cwd=PROJECT,
            ports=(PortClaim(self.port, self.port_setting),),
            stop_budget=20.0,
            ready_timeout=120.0,
        )

    async def ready(self) -> bool:
        try:
            async with (
                aiohttp.ClientSession(timeout=_PROBE) as session,
                session.get(f"{self.url}/_cluster/health") as answer,
            ):
                return answer.status == 200 and (await answer.json())["status"] in ("yellow", "green")
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False
