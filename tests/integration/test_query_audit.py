"""Changes of apps, secrets, their types and queries are told as `audit.recorded`, without any secret."""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from libs.common.events import AuditRecorded
from libs.common.settings import CommonSettings
from libs.common.topics import AUDIT_RECORDED
from tests.integration.query_harness import PASSWORD, Shop, Stack, new_shop, query_stack
from tests.support.messaging import Bench
from tests.support.platform import Platform
from tests.support.servers import Servers
from tests.support.spans import recorded_spans

PLAIN = "canary-plain-secret-5521"
ROTATED = "canary-rotated-6612"


@pytest.fixture(scope="module")
async def stack(platform: Platform, servers: Servers) -> AsyncIterator[Stack]:
    async with query_stack(platform, servers) as running:
        yield running


async def told(stack: Stack, tenant: UUID) -> list[tuple[AuditRecorded, dict[str, str], str, str]]:
    """Event, headers, key and text of each record of this service, in the order of the topic's partitions."""
    await stack.relayed()
    settings = CommonSettings(kafka=stack.platform.kafka, topic_prefix=stack.platform.topic_prefix)
    records = await Bench(settings).read(stack.platform.topic_prefix + AUDIT_RECORDED.name)
    found = []
    for record in records:
        headers = {name: (value or b"").decode() for name, value in record.headers}
        event = AuditRecorded.model_validate_json(record.value)
        if event.tenant == tenant and headers["ce_source"] == "/tidemark/query-executor":
            found.append((event, headers, record.key.decode(), record.value.decode()))
    return found


async def changed(shop: Shop) -> dict[str, Any]:
    """Everything that can be done to configuration, once; what the API answered at each step."""
    answers: dict[str, Any] = {}
    answers["type"] = await shop.call("POST", "secrets/types/", {"slug": "plain"})
    answers["secret"] = await shop.secret("key", "plain", PLAIN)
    answers["described"] = await shop.call("PATCH", "secrets/key/", {"description": "of us"})
    answers["rotated"] = await shop.call("POST", "secrets/key/rotate/", {"value": ROTATED})
    answers["query"] = await shop.query("SELECT 1 AS a", "Some query")
    answers["again"] = await shop.call("PUT", "analytics/queries/some-query/", {"name": "Another name"})
    answers["version"] = await shop.call("PUT", "analytics/queries/some-query/", {"query_text": "SELECT 2 AS a"})
    answers["nothing"] = await shop.call("PUT", "analytics/queries/some-query/", {"name": "Another name"})
    answers["gone"] = await shop.call("DELETE", "analytics/queries/some-query/")
    answers["secret gone"] = await shop.call("DELETE", "secrets/key/")
    answers["app gone"] = await shop.stack.call("DELETE", shop.root + "/", shop.tenant)
    assert all(reply.status < 300 for reply in answers.values()), answers
    return {name: reply.body.get("data") for name, reply in answers.items()}


async def test_every_change_is_told_once_and_by_whom(stack: Stack) -> None:
    shop = await new_shop(stack)
    answers = await changed(shop)
    found = await told(stack, shop.tenant)
    kinds = sorted(event.event_type for event, _, _, _ in found)
    assert kinds == sorted(
        [
            "APP_CREATE", "SECRET_CREATE", "SECRET_TYPE_CREATE", "SECRET_CREATE", "SECRET_UPDATE", "SECRET_UPDATE",
            "ANALYTICS_QUERY_CREATE", "ANALYTICS_QUERY_UPDATE", "ANALYTICS_QUERY_UPDATE", "ANALYTICS_QUERY_DELETE",
            "SECRET_DELETE", "SECRET_DELETE", "APP_DELETE",
        ]
    )  # fmt: skip
    for event, headers, key, text in found:
        assert (event.actor_type, event.environment) == ("user", "production")
        assert event.actor_id
        assert event.event_type == f"{event.resource_type.upper()}_{event.action}"
        assert key == event.resource_id
        assert (headers["ce_type"], headers["ce_id"]) == ("tidemark.audit_recorded", str(event.event_id))
        assert (headers["ce_tenant"], event.event_id.version) == (str(shop.tenant), 7)
        assert ("current_resource" in json.loads(text)) is (event.action != "DELETE")
        assert (event.previous_resource is None) is (event.action == "CREATE")
    assert len({event.event_id for event, _, _, _ in found}) == len(found)
    _same_fields(answers, found)
    print(f"AUDIT changes={len(answers) + 2} events={len(found)} double=0")


def _same_fields(answers: dict[str, Any], found: list[tuple[AuditRecorded, dict[str, str], str, str]]) -> None:
    """Resources hold the fields of the API with the API's values."""
    by_id = {answers["secret"]["id"]: answers["rotated"], answers["query"]["id"]: answers["version"]}
    last = {event.resource_id: event.current_resource for event, _, _, _ in found if event.action == "UPDATE"}
    assert set(last) == set(by_id)
    for resource, shown in by_id.items():
        current = last[resource]
        assert current is not None
        common = set(current) & set(shown) - {"created_at", "updated_at"}
        assert {name: current[name] for name in common - {"settings"}} == {
            name: shown[name] for name in common - {"settings"}
        }
        assert set(current) - set(shown) == {"app_id"}
        assert set(shown) - set(current) <= {"query_text"}


async def test_no_secret_is_told(stack: Stack) -> None:
    shop = await new_shop(stack)
    await changed(shop)
    text = "".join(text for _, _, _, text in await told(stack, shop.tenant))
    assert "version" in text
    assert not [canary for canary in (PASSWORD, PLAIN, ROTATED, "sealed", "v1.") if canary in text]


async def test_the_trace_of_the_request_goes_along(platform: Platform, servers: Servers) -> None:
    with recorded_spans() as spans:
        async with query_stack(platform, servers) as stack:
            shop = await new_shop(stack)
            found = await told(stack, shop.tenant)
    traces = {f"{span.context.trace_id:032x}" for span in spans.get_finished_spans() if span.context}
    assert found
    assert {headers["traceparent"].split("-")[1] for _, headers, _, _ in found} <= traces


async def test_what_is_rolled_back_is_not_told(stack: Stack) -> None:
    shop = await new_shop(stack)
    assert (await shop.call("POST", "secrets/types/", {"slug": "plain"})).status == 201
    assert (await shop.call("POST", "secrets/types/", {"slug": "plain"})).status == 409
    kinds = [event.event_type for event, _, _, _ in await told(stack, shop.tenant)]
    assert kinds.count("SECRET_TYPE_CREATE") == 1


async def test_a_change_without_an_actor_is_refused_on_the_request_path_and_silent_in_upkeep(
    platform: Platform,
) -> None:
    statement = "INSERT INTO secret_type (tenant_id, slug, name, created_at) VALUES ($1, 'x', 'x', '2026-01-01')"
    tenant = uuid4()
    connection = await asyncpg.connect(platform.api_url("query_executor"))
    await connection.execute("SELECT set_config('app.tenant', $1, false)", str(tenant))
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError):
        await connection.execute(statement, tenant)
    await connection.close()
    worker = await asyncpg.connect(platform.worker_url("query_executor"))
    await worker.execute(statement, tenant)
    assert await worker.fetchval("SELECT count(*) FROM outbox WHERE value LIKE $1", f"%{tenant}%") == 0
    await worker.close()


async def test_audited_columns_exist_and_none_is_sealed(platform: Platform) -> None:
    """A column that is renamed would be told as null for ever."""
    connection = await asyncpg.connect(platform.admin_url)
    rows = await connection.fetch(
        r"""SELECT t.tgrelid::regclass::text AS name, split_part(encode(t.tgargs, 'escape'), '\000', 3) AS columns
            FROM pg_trigger t WHERE t.tgfoid = 'tidemark.audit'::regproc"""
    )
    assert len(rows) >= 5
    for row in rows:
        named = {column.partition(":")[0] for column in row["columns"].strip("{}").split(",")}
        present = await connection.fetch(
            "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0", row["name"]
        )
        assert named <= {each["attname"] for each in present}, row["name"]
        assert not [column for column in named if "sealed" in column or "password" in column]
    await connection.close()
