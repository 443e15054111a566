"""Refused signatures are told, and a storm of them is told as a number."""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson
import pytest

from libs.common.db import Database
from services.gateway.ingress.rejections import TOLD_AT_ONCE, WINDOW_SECONDS, Address, Rejections
from services.gateway.settings import Settings
from tests.support.platform import Platform, values_of

NOON = datetime(2026, 3, 18, 12, tzinfo=UTC)


@pytest.fixture
async def database(platform: Platform) -> AsyncIterator[Database]:
    opened = await Database.open(Settings.model_validate(values_of(platform.gateway_environment(1, {}))), "rejections")
    yield opened
    await opened.close()


def _address() -> Address:
    return Address(uuid4(), uuid4(), "CI", "github", "staging")


class Watch:
    """Time that passes when a test says so."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


async def told(platform: Platform, source: UUID) -> list[dict[str, Any]]:
    """Nobody relays here: what was told lies in the outbox."""
    connection = await asyncpg.connect(platform.admin_url)
    try:
        rows = await connection.fetch("SELECT value FROM gateway.outbox WHERE key = $1 ORDER BY id", str(source))
    finally:
        await connection.close()
    return [orjson.loads(row["value"]) for row in rows]


async def test_a_storm_is_told_as_a_number(platform: Platform, database: Database) -> None:
    watch, address = Watch(), _address()
    rejections = Rejections(database, lambda: NOON, watch)
    for _ in range(1000):
        await rejections.note(address, "wrong_signature")
    for _ in range(10):
        await rejections.note(address, "stale_signature")
    await rejections.flush()
    assert len(await told(platform, address.id)) == TOLD_AT_ONCE
    watch.seconds = WINDOW_SECONDS
    await rejections.flush()
    await rejections.flush()
    events = await told(platform, address.id)
    counts = Counter[str]()
    for event in events:
        counts[event["current_resource"]["reason"]] += event["current_resource"]["count"]
    print(f"WEBHOOK_STORM rejected=1010 events={len(events)} counted={counts.total()}")
    assert counts == {"wrong_signature": 1000, "stale_signature": 10}
    assert len(events) == TOLD_AT_ONCE + 2


async def test_a_rejection_says_whose_source_and_why(platform: Platform, database: Database) -> None:
    address = _address()
    await Rejections(database, lambda: NOON).note(address, "sha1_only")
    (event,) = await told(platform, address.id)
    assert UUID(event.pop("event_id")).version == 7
    assert event == {
        "tenant": str(address.tenant),
        "occurred_at": "2026-03-18T12:00:00Z",
        "environment": "staging",
        "action": "REJECT",
        "event_type": "WEBHOOK_SOURCE_REJECT",
        "resource_type": "webhook_source",
        "resource_id": str(address.id),
        "component_id": None,
        "actor_id": None,
        "actor_type": "unknown",
        "actor_username": None,
        "previous_resource": None,
        "current_resource": {"name": "CI", "kind": "github", "reason": "sha1_only", "count": 1},
    }


async def test_sources_and_minutes_have_their_own_count(platform: Platform, database: Database) -> None:
    watch, loud, quiet = Watch(), _address(), _address()
    rejections = Rejections(database, lambda: NOON, watch)
    for _ in range(20):
        await rejections.note(loud, "wrong_signature")
    await rejections.note(quiet, "wrong_signature")
    assert len(await told(platform, quiet.id)) == 1
    watch.seconds = WINDOW_SECONDS
    await rejections.flush()
    await rejections.note(loud, "wrong_signature")
    assert [event["current_resource"]["count"] for event in await told(platform, loud.id)] == [1] * 5 + [15, 1]


async def test_what_cannot_be_told_now_is_told_later(platform: Platform, database: Database) -> None:
    address, rejections = _address(), Rejections(database, lambda: NOON)
    connection = await asyncpg.connect(platform.admin_url)
    try:
        await connection.execute("ALTER TABLE gateway.outbox RENAME TO elsewhere")
        try:
            for _ in range(3):
                await rejections.note(address, "wrong_signature")
            with pytest.raises(asyncpg.UndefinedTableError):
                await rejections.flush(all_windows=True)
        finally:
            await connection.execute("ALTER TABLE gateway.elsewhere RENAME TO outbox")
    finally:
        await connection.close()
    await rejections.flush(all_windows=True)
    assert [event["current_resource"]["count"] for event in await told(platform, address.id)] == [3]
