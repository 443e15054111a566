"""The gateway as a process: bounded memory, an orderly end, kill -9, and what it writes into its log."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import psutil
import pytest

from deploy.local.ports import accepts
from deploy.local.service import ServiceProcess
from libs.common.topics import AUDIT_RECORDED, CONNECTOR_CHANGED
from tests.integration.gateway_harness import BIG, PIECE, Front, Reply, connector, front_process, secret_of
from tests.support.platform import JWT_SECRET, Platform
from tests.support.processes import eventually, token

ALLOWED_GROWTH = 32 * 1024 * 1024
# uvicorn repeats the signal to itself once it has ended in order.
ENDED = (0, -signal.SIGTERM)
CANARY = "canary-5b81e2"
LEASE = 60


@pytest.fixture
async def running(platform: Platform, tmp_path: Path) -> AsyncIterator[tuple[Front, ServiceProcess]]:
    async with front_process(platform, tmp_path, TIDEMARK_IDEMPOTENCY_LEASE_SECONDS=str(LEASE)) as both:
        yield both


async def _peak(pid: int, until: asyncio.Event) -> int:
    """Highest resident memory while something runs."""
    process, peak = psutil.Process(pid), 0
    while not until.is_set():
        peak = max(peak, process.memory_info().rss)
        await asyncio.sleep(0.01)
    return peak


async def _pieces() -> AsyncIterator[bytes]:
    for _ in range(BIG // len(PIECE)):
        yield PIECE


async def test_memory_does_not_grow_with_bodies(running: tuple[Front, ServiceProcess]) -> None:
    gateway, process = running
    tenant = await gateway.new_tenant()
    await gateway.call("PATCH", "/spaces/shop", tenant=tenant, data=b"warm")
    assert process.pid is not None
    before, done = psutil.Process(process.pid).memory_info().rss, asyncio.Event()
    watching = asyncio.create_task(_peak(process.pid, done))
    sent = await gateway.call("PATCH", "/spaces/shop", tenant=tenant, data=_pieces())
    size = 0
    headers = {"Authorization": f"Bearer {token(tenant)}"}
    async with gateway.session.get(f"{gateway.url}/spaces/big", headers=headers) as answer:
        async for chunk in answer.content.iter_any():
            size += len(chunk)
            await asyncio.sleep(0)
    done.set()
    growth = await watching - before
    print(f"STREAM body_mb={BIG >> 20} up={sent.body['size'] == BIG} down={size == BIG} growth_mb={growth / 2**20:.1f}")
    assert (sent.body["size"], size) == (BIG, BIG)
    assert growth < ALLOWED_GROWTH


async def _keyed(gateway: Front, bearer: str) -> Reply:
    headers = {"Idempotency-Key": "k"}
    return await gateway.call(
        "POST", "/spaces", tenant=None, bearer=bearer, json={"name": "x", "held": True}, headers=headers
    )


async def test_an_orderly_end_finishes_what_is_in_flight(running: tuple[Front, ServiceProcess]) -> None:
    gateway, process = running
    tenant = await gateway.new_tenant()
    slow = asyncio.create_task(gateway.call("POST", "/spaces", tenant=tenant, json={"name": "x", "held": True}))
    await gateway.upstream.started.wait()
    stopping = asyncio.create_task(process.stop())

    async def is_closed() -> bool:
        """Nobody new is let in."""
        return not accepts(process.port)

    await eventually(is_closed)
    assert not slow.done()
    gateway.upstream.gate.set()
    assert (await slow).status == 201
    await stopping
    assert process.exit_code in ENDED


async def test_kill_9_in_a_keyed_request_leaves_one_answer(running: tuple[Front, ServiceProcess]) -> None:
    gateway, process = running
    tenant = await gateway.new_tenant()
    bearer = token(tenant, "staff")
    lost = asyncio.create_task(_keyed(gateway, bearer))
    await gateway.upstream.started.wait()
    await process.kill()
    with pytest.raises(aiohttp.ClientError):
        await lost
    gateway.upstream.gate.set()
    (row,) = await gateway.sql("SELECT lease_until FROM gateway.idempotency_key WHERE tenant_id = $1", tenant)
    assert row["lease_until"] <= datetime.now(UTC) + timedelta(seconds=LEASE)
    moved = "UPDATE gateway.idempotency_key SET lease_until = $2 WHERE tenant_id = $1"
    await gateway.sql(moved, tenant, datetime.now(UTC) + timedelta(hours=1))  # however long the start takes
    await process.start()
    at_once = await _keyed(gateway, bearer)
    await gateway.sql(moved, tenant, datetime.now(UTC))
    again = await _keyed(gateway, bearer)
    last = await _keyed(gateway, bearer)
    print(f"KILL at_once={at_once.status} again={again.status} replayed={'Idempotency-Replayed' in last.headers}")
    assert (at_once.status, again.status, last.status) == (409, 201, 201)
    assert again.body == last.body
    assert last.headers["Idempotency-Replayed"] == "true"


async def test_it_serves_without_a_broker(platform: Platform, tmp_path: Path) -> None:
    async with front_process(platform, tmp_path, TIDEMARK_KAFKA="127.0.0.1:1") as (gateway, process):
        tenant = await gateway.new_tenant()
        made = await gateway.call("POST", "/connectors", tenant=tenant, json=connector())
        assert made.status == 201
        waiting = await gateway.sql("SELECT topic FROM gateway.outbox WHERE key = $1", made.body["id"])
        assert sorted(each["topic"] for each in waiting) == [AUDIT_RECORDED.name, CONNECTOR_CHANGED.name]
        await process.stop()
        assert process.exit_code in ENDED


async def test_its_log_is_json_and_holds_no_secret(running: tuple[Front, ServiceProcess]) -> None:
    gateway, process = running
    tenant = await gateway.new_tenant()
    bearer = token(tenant, "staff")
    key = (await gateway.call("POST", "/api-keys", tenant=tenant, json={"name": "k"})).body["key"]
    for wish in (connector(password=CANARY), connector("B", password=[CANARY]), {"settings": CANARY}, CANARY):
        await gateway.call("POST", "/connectors", tenant=tenant, bearer=bearer, json=wish)
    for wrong in (f"{bearer[:-2]}xx", f"{key[:-2]}xx", CANARY):
        await gateway.call("GET", f"/connectors?password={CANARY}", tenant=tenant, bearer=wrong)
    headers = {"Authorization": f"Bearer {bearer}"}
    with pytest.raises(aiohttp.ClientPayloadError):
        async with gateway.session.get(f"{gateway.url}/spaces/broken?password={CANARY}", headers=headers) as answer:
            await answer.read()

    async def is_told() -> bool:
        return "Truncated" in process.log.read_text()

    await eventually(is_told)
    await process.stop()
    lines = process.log.read_text().splitlines()
    assert all(isinstance(json.loads(line), dict) for line in lines)
    text = "\n".join(lines)
    for secret in (CANARY, bearer.rpartition(".")[2], secret_of(key), JWT_SECRET):
        assert secret not in text
