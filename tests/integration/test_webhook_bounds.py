"""Whoever does not hold a source's secret costs little, and what cannot be taken now comes again."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any
from uuid import uuid4

import pytest

from services.gateway.ingress.sources import BELIEVED
from tests.integration.gateway_harness import Front, Reply, front
from tests.integration.webhook_harness import Source, connected, new_source
from tests.support import webhooks
from tests.support.platform import Platform
from tests.support.processes import eventually
from tests.support.webhooks import body_of, payload

STATUS = payload("github_deployment_status")
WRONG = "canary-wrong-secret-0123456789"


@pytest.fixture(scope="module")
async def gateway(platform: Platform) -> AsyncIterator[Front]:
    async with front(platform) as running:
        await connected(running)
        yield running


@asynccontextmanager
async def replica(platform: Platform, **changes: Any) -> AsyncIterator[Front]:
    """Another gateway on the same database: it has learnt nothing yet."""
    async with front(platform, **changes) as running:
        yield running


async def test_an_unknown_address_costs_one_look_and_then_none(gateway: Front) -> None:
    unknown = Source(gateway, uuid4(), str(uuid4()), WRONG)
    gateway.spans.clear()
    answers = [await unknown.github(STATUS) for _ in range(5)]
    looks = [
        span
        for span in gateway.spans.get_finished_spans()
        if "webhook_source" in str((span.attributes or {}).get("db.query.text"))
    ]
    assert [(answer.status, answer.body["code"]) for answer in answers] == [(404, "not_found")] * 5
    assert 1 <= len(looks) <= 2, "an answer that is believed for five seconds was asked for each time"
    assert (await unknown.post(b"", {}, "/webhooks/nonsense")).status == 422
    assert (await unknown.github(STATUS)).status == (await unknown.post(b"", {}, unknown.path + "/")).status == 404
    rows = await gateway.sql(
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'gateway' AND indexname = 'webhook_source_id_taken'"
    )
    assert "(id)" in rows[0]["indexdef"]


async def test_a_flood_of_made_up_addresses_stops_nobody(gateway: Front) -> None:
    source, started = await new_source(gateway, "github"), time.monotonic()
    assert (await source.github(STATUS)).status == 202
    body = body_of(STATUS)

    async def made_up() -> int:
        headers = webhooks.github_headers(WRONG, body, "deployment_status", "d")
        return (await source.post(body, headers, f"/webhooks/{uuid4()}")).status

    flood = [made_up() for _ in range(400)]
    *answers, known = await asyncio.gather(*flood, source.github(STATUS))
    counts = Counter(answers)
    print(f"WEBHOOK_FLOOD made_up={len(answers)} not_found={counts[404]} refused={counts[429]}")
    assert set(counts) <= {404, 429}
    assert isinstance(known, Reply)
    forgotten = time.monotonic() - started > BELIEVED
    assert known.status == 202 or forgotten


async def test_large_bodies_are_refused_before_they_are_read(gateway: Front) -> None:
    source = await new_source(gateway, "github")
    huge = b"x" * 2_000_000
    headers = webhooks.github_headers(source.secret, huge, "push", "d")

    async def pieces() -> AsyncIterator[bytes]:
        yield huge

    for body in (BytesIO(huge), pieces()):
        async with gateway.session.post(gateway.url + source.path, data=body, headers=headers) as answer:
            assert (answer.status, (await answer.json())["code"]) == (413, "too_large")


@asynccontextmanager
async def _half_sent(
    gateway: Front, source: Source
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A request whose body does not come."""
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(
            f"POST {source.path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 10\r\n"
            f"X-Hub-Signature-256: sha256={'0' * 64}\r\n\r\n{{".encode()
        )
        await writer.drain()
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()


async def test_slow_senders_are_ended_and_do_not_stand_in_the_way(gateway: Front, platform: Platform) -> None:
    async with replica(platform, webhook_read_seconds=0.3) as hasty:
        source = await new_source(hasty, "github")
        async with _half_sent(hasty, source) as (reader, _):
            assert b" 408 " in await reader.readline()


@asynccontextmanager
async def _in_hand(
    gateway: Front, source: Source
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter, Reply]]:
    """A request whose body does not come, while it takes the only place, and what another one is answered meanwhile."""
    for attempt in range(20):
        async with _half_sent(gateway, source) as (reader, writer):
            await asyncio.sleep(0.1 * attempt)  # the other one may be read first, and take the place itself
            other = await source.github(STATUS)
            if other.status == 429:
                yield reader, writer, other
                return
    raise AssertionError("a request whose body does not come never took the only place")


async def test_more_webhooks_at_once_than_are_worked_on_come_again(gateway: Front, platform: Platform) -> None:
    async with replica(platform, webhook_max_in_flight=1, webhook_read_seconds=300) as narrow:
        await connected(narrow)
        source = await new_source(narrow, "github")
        async with _in_hand(narrow, source) as (reader, writer, refused):
            assert refused.headers["Retry-After"] == "1"
            writer.write(b" " * 9)
            assert b" 401 " in await reader.readline()

        async def free() -> bool:
            return (await source.github(STATUS)).status == 202

        await eventually(free)


async def test_without_the_broker_senders_come_again(platform: Platform) -> None:
    async with replica(platform, kafka="127.0.0.1:1") as alone:
        source = await new_source(alone, "github")
        answer = await source.github(STATUS)
        assert (answer.status, "Retry-After" in answer.headers) == (503, True)
        assert (await source.github(payload("github_ping"), "ping")).status == 200


async def test_what_came_is_counted_by_outcome(gateway: Front) -> None:
    source = await new_source(gateway, "argocd")
    await source.token(payload("argocd_application"))
    await source.token(payload("argocd_application", app__status__operationState__phase="Terminating"))
    await source.token({}, secret=WRONG)
    await source.token({})
    async with gateway.session.get(gateway.url + "/metrics") as answer:
        lines = (await answer.text()).splitlines()
    counted = {
        line.rpartition(" ")[0] for line in lines if line.startswith("tidemark_webhooks_total") and "argocd" in line
    }
    outcomes = ("accepted", "ignored", "unauthorized", "unprocessable")
    assert counted >= {f'tidemark_webhooks_total{{kind="argocd",outcome="{outcome}"}}' for outcome in outcomes}
    assert not any(source.id in line for line in lines)
