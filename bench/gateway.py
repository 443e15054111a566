"""The gateway's pass-through, against FastAPI with httpx, and against its service asked directly.

All servers are processes of their own: uvicorn with uvloop and httptools, one each, on 127.0.0.1. The load is 16
connections from a further process. Every arm ends at the same service, which verifies the EdDSA token of the gateway.
"""

import asyncio
import os
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import UUID

from bench.gateway_arms.rounds import Arm, Figures, run_arms
from bench.harness import Result
from cli.client import Gateway
from deploy.local.ports import free_ports
from deploy.local.process import Launch, all_of
from deploy.local.service import ServiceProcess
from deploy.local.settings import PROJECT
from libs.common.auth import Principal
from tests.support.platform import Platform, fresh_platform, template_database
from tests.support.processes import token
from tests.support.servers import running_servers

FASTER, OF_DIRECT, ADDED_MS = 8.0, 0.5, 1.5
_TRACED = {"TIDEMARK_TRACE_RATIO": "0.01"}


class _Module(ServiceProcess):
    """A process of the benchmark; `service` is its module."""

    async def launch(self) -> Launch:
        command = (sys.executable, "-m", self.service)
        return Launch(command, self.env, PROJECT, stop_budget=15.0)


class _Sink(BaseHTTPRequestHandler):
    """Takes exported spans."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def _span_sink() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Sink) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1/traces"
        server.shutdown()


@asynccontextmanager
async def _platform() -> AsyncIterator[Platform]:
    async with (
        running_servers() as servers,
        template_database(servers) as template,
        fresh_platform(servers, template) as platform,
    ):
        yield platform


def _processes(platform: Platform, spans: str, logs: Path) -> dict[str, ServiceProcess]:
    upstream, gateway, naive = free_ports(3)
    env = {**os.environ, **_TRACED, "TIDEMARK_OTLP_ENDPOINT": spans}
    behind = dict.fromkeys(("aggregator", "log_miner", "scraper"), upstream)
    modules = {
        "service": ("bench.gateway_arms.upstream", upstream, platform.environment("aggregator", upstream)),
        "gateway": ("services.gateway.app", gateway, platform.gateway_environment(gateway, behind)),
        "naive": ("bench.gateway_arms.naive", naive, platform.gateway_environment(naive, behind)),
    }
    return {
        name: _Module(name, logs / f"{name}.log", module, port, env | own, "TIDEMARK_HTTP_PORT")
        for name, (module, port, own) in modules.items()
    }


def _arms(platform: Platform, processes: Mapping[str, ServiceProcess], tenant: UUID, connector: str) -> dict[str, Arm]:
    """`direct` carries the token that the gateway would have sent; it lives for a minute, a round much shorter."""
    path, service = "/spaces/shop/usage", processes["service"]
    urls = {name: f"http://127.0.0.1:{process.port}" for name, process in processes.items()}

    def outside() -> str:
        return token(tenant, "staff")

    def inside() -> str:
        return platform.signer.mint(Principal(tenant, "bench", roles=frozenset({"staff"})))

    through = (processes["gateway"], service)
    return {
        "gateway": Arm(urls["gateway"] + path, outside, through),
        "connector": Arm(f"{urls['gateway']}/connectors/{connector}/queries", outside, through),
        "naive": Arm(urls["naive"] + path, outside, (processes["naive"], service)),
        "direct": Arm(urls["service"] + path, inside, (service,)),
    }


async def _registered(gateway_url: str) -> tuple[UUID, str]:
    """A tenant and its connector, for the routes that look one up."""
    async with Gateway(gateway_url, token(None, "superuser")) as superuser:
        tenant = UUID((await superuser.post("/tenants", {"name": "Bench"}))["id"])
    settings = {"type": "postgres", "host": "127.0.0.1", "database": "shop", "username": "miner", "password": "none"}
    async with Gateway(gateway_url, token(tenant, "staff")) as staff:
        made = await staff.post("/connectors", {"name": "Shop", "settings": settings})
    return tenant, made["id"]


async def _measured() -> dict[str, Figures]:
    with _span_sink() as spans, tempfile.TemporaryDirectory() as logs:
        async with _platform() as platform:
            processes = _processes(platform, spans, Path(logs))
            try:
                await all_of(process.start() for process in processes.values())
                tenant, connector = await _registered(f"http://127.0.0.1:{processes['gateway'].port}")
                return await asyncio.to_thread(run_arms, _arms(platform, processes, tenant, connector))
            finally:
                await asyncio.gather(*(process.stop() for process in processes.values()))


def measure() -> list[Result]:
    """Four arms: the gateway on a tenant's route and on a connector's, the naive gateway, the service itself."""
    figures = asyncio.run(_measured())
    for name, each in figures.items():
        cpu = " ".join(f"cpu_{process}_us={spent:.0f}" for process, spent in each.cpu.items())
        print(f"GATEWAY arm={name} rate={each.rate:.0f} p50_ms={each.p50:.2f} p99_ms={each.p99:.2f} {cpu}")
    ours, naive, direct = figures["gateway"], figures["naive"], figures["direct"]
    added = ours.p50 - direct.p50
    faster, share = ours.rate / naive.rate, ours.rate / direct.rate
    return [
        Result("gateway", ours.rate, "req/s", faster, f">={FASTER:g}", faster >= FASTER),
        Result("gateway_of_direct", ours.rate, "req/s", share, f">={OF_DIRECT:g}", share >= OF_DIRECT),
        Result("gateway_added_p50", added, "ms", ours.p50 / direct.p50, f"<={ADDED_MS:g}ms", added <= ADDED_MS),
    ]
