"""Changes of the gateway's and the aggregator's configuration are told as `audit.recorded`: by whom, no secret."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from cli.client import Gateway
from libs.common.events import AuditRecorded
from libs.common.settings import CommonSettings
from libs.common.topics import AUDIT_RECORDED
from tests.support.messaging import Bench
from tests.support.platform import Platform
from tests.support.processes import Running, eventually, running_services

PASSWORD = "canary-warehouse-password-7731"
SETTINGS: dict[str, Any] = {
    "type": "postgres", "host": "127.0.0.1", "port": 5999, "database": "shop", "username": "miner",
    "password": PASSWORD,
}  # fmt: skip
# Every table of configuration. A service that comes later adds its own here.
AUDITED = {
    "gateway.tenant", "gateway.api_key", "gateway.connector", "gateway.webhook_source",
    "aggregator.space", "aggregator.data_product",
    "query_executor.app", "query_executor.secret_type", "query_executor.secret", "query_executor.analytics_query",
    "query_executor.query_schedule", "reporting.component", "reporting.environment", "reporting.deployment",
}  # fmt: skip


@pytest.fixture(scope="module")
async def running(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    async with running_services(platform, Path(tmp_path_factory.mktemp("logs")), ("aggregator",)) as services:
        yield services


async def told(platform: Platform, tenant: UUID) -> list[tuple[AuditRecorded, str]]:
    """Each event of a tenant with its text, by time."""
    admin = await asyncpg.connect(platform.admin_url)

    async def relayed() -> bool:
        left = "SELECT (SELECT count(*) FROM gateway.outbox) + (SELECT count(*) FROM aggregator.outbox)"
        return bool(await admin.fetchval(left) == 0)

    await eventually(relayed)
    await admin.close()
    settings = CommonSettings(kafka=platform.kafka, topic_prefix=platform.topic_prefix)
    records = await Bench(settings).read(platform.topic_prefix + AUDIT_RECORDED.name)
    found = [(AuditRecorded.model_validate_json(record.value), record.value.decode()) for record in records]
    return sorted(((event, text) for event, text in found if event.tenant == tenant), key=lambda each: each[0].event_id)


async def change_connector(gateway: Gateway) -> dict[str, Any]:
    made = await gateway.post("/connectors", {"name": "Shop", "settings": SETTINGS})
    path = f"/connectors/{made['id']}"
    schedule = {"cron": "0 3 * * *", "timezone": "Europe/Berlin"}
    await gateway.call("PATCH", path, {"name": "Warehouse", "schedule": schedule})
    await gateway.call("PATCH", path, {"name": "Warehouse"})  # changes nothing
    shown: dict[str, Any] = await gateway.call("PATCH", path, {"settings": {"password": PASSWORD + "-new"}})
    await gateway.call("DELETE", path)
    return shown


async def change_source(gateway: Gateway) -> list[str]:
    """The secrets that it had."""
    made = await gateway.post("/webhook-sources", {"name": "CI", "kind": "github"})
    path = f"/webhook-sources/{made['id']}"
    rotated = await gateway.post(f"{path}/rotate", {})
    await gateway.call("DELETE", path)
    return [made["secret"], rotated["secret"]]


async def change_products(gateway: Gateway) -> dict[str, Any]:
    await gateway.post("/spaces", {"name": "shop"})
    await gateway.call("PATCH", "/spaces/shop", {"description": "of ours"})
    orders = await gateway.post("/spaces/shop/products", {"name": "Orders", "tables": [{"name": "public.orders"}]})
    path, tables = f"/spaces/shop/products/{orders['id']}", [{"name": "public.orders"}, {"name": "items"}]
    shown: dict[str, Any] = await gateway.call("PATCH", path, {"tables": tables})
    await gateway.post("/spaces/shop/usage/aggregate")
    await gateway.call("DELETE", "/spaces/shop")  # and the product with it
    return shown


def by_kind(found: list[tuple[AuditRecorded, str]]) -> list[str]:
    return sorted(event.event_type for event, _ in found)


async def test_every_change_is_told_once_with_the_fields_of_the_api(platform: Platform, running: Running) -> None:
    tenant = await running.new_tenant()
    async with running.client(tenant, "staff") as gateway:
        key = await gateway.post("/api-keys", {"name": "ci"})
        await gateway.call("DELETE", f"/api-keys/{key['id']}")
        await gateway.post("/users/erase", {"username": "tester"})  # renames who made the key
        shown = {"CONNECTOR_UPDATE": await change_connector(gateway)}
        await change_source(gateway)
        shown |= {"DATA_PRODUCT_UPDATE": await change_products(gateway)}
    found = await told(platform, tenant)
    assert by_kind(found) == sorted(
        [
            "TENANT_CREATE", "API_KEY_CREATE", "API_KEY_DELETE",
            "CONNECTOR_CREATE", "CONNECTOR_UPDATE", "CONNECTOR_UPDATE", "CONNECTOR_DELETE",
            "WEBHOOK_SOURCE_CREATE", "WEBHOOK_SOURCE_UPDATE", "WEBHOOK_SOURCE_DELETE",
            "SPACE_CREATE", "SPACE_UPDATE", "DATA_PRODUCT_CREATE", "DATA_PRODUCT_UPDATE", "DATA_PRODUCT_DELETE",
            "SPACE_DELETE",
        ]
    )  # fmt: skip
    last = {event.event_type: event.current_resource for event, _ in found}
    for kind, api in shown.items():
        current = last[kind]
        assert current is not None
        times = {"created_at", "updated_at"}
        assert {name: current[name] for name in current.keys() - times} == {
            name: api[name] for name in current.keys() - times
        }
        assert api.keys() - current.keys() <= {"settings"}
    for event, text in found:
        assert (event.actor_type, event.actor_id) == ("user", "tester")
        assert ("current_resource" in json.loads(text)) is (event.action != "DELETE")
    print(f"AUDIT_PLATFORM events={len(found)} double=0")


async def test_no_secret_is_told(platform: Platform, running: Running) -> None:
    tenant = await running.new_tenant()
    async with running.client(tenant, "staff") as gateway:
        key = (await gateway.post("/api-keys", {"name": "ci"}))["key"]
        await change_connector(gateway)
        secrets = await change_source(gateway)
    text = "".join(text for _, text in await told(platform, tenant))
    assert "CONNECTOR_UPDATE" in text
    assert not [
        canary for canary in (*secrets, PASSWORD, key, key.rpartition("_")[2], "sealed", "hash") if canary in text
    ]


async def test_a_deleted_tenant_tells_what_goes_with_it(platform: Platform, running: Running) -> None:
    tenant = await running.new_tenant()
    async with running.client(tenant, "staff") as gateway:
        await gateway.post("/api-keys", {"name": "ci"})
    async with running.client(None, "superuser") as superuser:
        await superuser.call("DELETE", f"/tenants/{tenant}")
    kinds = by_kind(await told(platform, tenant))
    assert kinds == ["API_KEY_CREATE", "API_KEY_DELETE", "TENANT_CREATE", "TENANT_DELETE"]


async def test_every_table_of_configuration_has_the_trigger(platform: Platform) -> None:
    admin = await asyncpg.connect(platform.admin_url)
    rows = await admin.fetch(
        "SELECT DISTINCT tgrelid::regclass::text AS name FROM pg_trigger WHERE tgfoid = 'tidemark.audit'::regproc"
    )
    await admin.close()
    assert {row["name"] for row in rows} == AUDITED
