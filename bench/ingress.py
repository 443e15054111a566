"""`POST /events` against a bare aiokafka producer: events a second that the broker has acknowledged to 64 who wait.

Both arms have 64 callers with one call in flight each, of one event or of 100; both send the same keys, headers and
values with the same settings of the producer, from one process on one core. The gateway's arm is asked over HTTP by a
further process; it verifies a token, reads and checks each event, writes it, and names what became of it. The bare
arm is given each message ready made and only sends.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

import aiohttp
import msgspec
import psutil

from bench.gateway_arms.load import Load, Round
from bench.harness import Result
from bench.ingress_bare import Bare, Sent
from deploy.local.ports import free_ports
from deploy.local.service import ServiceProcess
from deploy.local.settings import PROJECT
from libs.common.broker import COMPRESSION, MAX_BATCH_BYTES
from libs.common.handover import MAX_MESSAGE_BYTES
from libs.common.topics import DEPLOYMENT_RECORDED
from tests.support.platform import Platform, fresh_platform, template_database
from tests.support.processes import eventually, token
from tests.support.servers import running_servers

CALLERS: Final = 64
BATCH: Final = 100
SECONDS, ROUNDS = 3.0, 5
_TENANT: Final = uuid4()
_TYPES: Final = {"single": "application/cloudevents+json", "batched": "application/cloudevents-batch+json"}
# On a busy machine the broker may be slow; that is not what is measured.
_SETTINGS: Final = {"TIDEMARK_TRACE_RATIO": "0.01", "TIDEMARK_INGRESS_ACKNOWLEDGE_SECONDS": "60"}


def event(number: int) -> dict[str, object]:
    """A deployment as a pipeline tells it, about 600 bytes."""
    data = {
        "deploymentId": str(UUID(int=number)),
        "componentRef": f"shop-{number % 64}",
        "environmentRef": "production",
        "version": "2026.3.18",
        "status": "SUCCEEDED",
        "startedAt": "2026-03-18T15:20:00Z",
        "finishedAt": "2026-03-18T15:30:00Z",
        "commitSha": "0af7651916cd43dd8448eb211c80319cb7ad6b71",
        "commitAt": "2026-03-18T12:00:00Z",
        "deployedBy": "ada@example.com",
        "metadata": {"url": "https://ci.example.com/shop/runs/4711", "branch": "main"},
    }
    known = {"specversion": "1.0", "id": str(number), "source": "//ci.example.com/shop", "type": "deployment.recorded"}
    return {**known, "time": "2026-03-18T15:30:00Z", "data": data}


def bodies(mode: str) -> tuple[str, ...]:
    """What each caller posts."""
    if mode == "single":
        return tuple(json.dumps(event(number)) for number in range(CALLERS))
    return tuple(json.dumps([event(at * BATCH + each) for each in range(BATCH)]) for at in range(CALLERS))


@dataclass(frozen=True, slots=True)
class Seen:
    """Events a second, and processor time an event of the process that sends them, in µs."""

    rate: float
    cpu: float


def _gateway_round(process: ServiceProcess, mode: str, seconds: float) -> Seen:
    url, size = f"http://127.0.0.1:{process.port}/events", BATCH if mode == "batched" else 1
    load = Load(url, token(_TENANT, "publisher"), seconds, CALLERS, bodies(mode), _TYPES[mode])
    before = _cpu(process)
    answer = _run("bench.gateway_arms.load", msgspec.json.encode(load))
    seen = msgspec.json.decode(answer, type=Round)
    return Seen(seen.rate * size, (_cpu(process) - before) / (seen.requests * size) * 1e6)


def _bare_round(bare: Bare, mode: str, seconds: float) -> Seen:
    size = BATCH if mode == "batched" else 1
    wanted = msgspec.structs.replace(bare, size=size, seconds=seconds)
    seen = msgspec.json.decode(_run("bench.ingress_bare", msgspec.json.encode(wanted)), type=Sent)
    return Seen(seen.events / seen.seconds, seen.cpu / seen.events * 1e6)


def _run(module: str, given: bytes) -> bytes:
    command = [sys.executable, "-m", module]
    return subprocess.run(command, input=given, stdout=subprocess.PIPE, cwd=PROJECT, check=True).stdout


def _cpu(process: ServiceProcess) -> float:
    times = psutil.Process(process.pid).cpu_times()
    return times.user + times.system


@asynccontextmanager
async def _gateway(logs: Path) -> AsyncIterator[tuple[Platform, ServiceProcess]]:
    async with (
        running_servers() as servers,
        template_database(servers) as template,
        fresh_platform(servers, template) as platform,
    ):
        (port,) = free_ports(1)
        env = {**os.environ, **_SETTINGS, **platform.gateway_environment(port, {})}
        process = ServiceProcess("gateway", logs / "gateway.log", "gateway", port, env, "TIDEMARK_HTTP_PORT")
        await process.start()
        try:
            await eventually(lambda: _takes(port))
            yield platform, process
        finally:
            await process.stop()


async def _takes(port: int) -> bool:
    """Whether the gateway has its broker."""
    headers = {"Authorization": f"Bearer {token(_TENANT, 'publisher')}", "Content-Type": _TYPES["single"]}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"http://127.0.0.1:{port}/events", data=bodies("single")[0]) as answer,
    ):
        return answer.status == 202


async def _rounds() -> dict[str, list[tuple[Seen, Seen]]]:
    """Pairs of (gateway, bare) by mode, in turn, after one that is thrown away."""
    with tempfile.TemporaryDirectory() as logs:
        async with _gateway(Path(logs)) as (platform, process):
            bare = Bare(
                platform.kafka,
                platform.topic_prefix + DEPLOYMENT_RECORDED.name,
                MAX_MESSAGE_BYTES,
                MAX_BATCH_BYTES,
                COMPRESSION,
                CALLERS,
            )
            found: dict[str, list[tuple[Seen, Seen]]] = {mode: [] for mode in _TYPES}
            for seconds in (0.5, *(SECONDS,) * ROUNDS):
                for mode, pairs in found.items():
                    ours = await asyncio.to_thread(_gateway_round, process, mode, seconds)
                    pairs.append((ours, await asyncio.to_thread(_bare_round, bare, mode, seconds)))
    return {mode: pairs[1:] for mode, pairs in found.items()}


def _median(pairs: list[tuple[Seen, Seen]], of: Callable[[Seen, Seen], float]) -> float:
    return statistics.median(of(ours, bare) for ours, bare in pairs)


def measure() -> list[Result]:
    """Single and batched."""
    results = []
    for mode, pairs in asyncio.run(_rounds()).items():
        rate, ratio = (
            _median(pairs, lambda ours, _: ours.rate),
            _median(pairs, lambda ours, bare: ours.rate / bare.rate),
        )
        bare = _median(pairs, lambda _, bare: bare.rate)
        cpu, theirs = _median(pairs, lambda ours, _: ours.cpu), _median(pairs, lambda _, bare: bare.cpu)
        print(f"INGRESS mode={mode} rate={rate:.0f} bare={bare:.0f} cpu_us={cpu:.0f} bare_cpu_us={theirs:.0f}")
        results.append(Result(f"ingress_{mode}", rate, "events/s", ratio, "none", ok=True))
    return results
