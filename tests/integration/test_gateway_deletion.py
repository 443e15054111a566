"""Deletion at the front: connectors, tenants, persons."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from libs.common.sealed import KeyRing
from libs.common.topics import CONNECTOR_CHANGED, TENANT_CHANGED, USER_ERASED
from services.gateway import identity
from services.gateway.registry import living
from services.gateway.store.tenants import TENANT_TABLES
from tests.integration.gateway_harness import Front, Reply, connector, front
from tests.support.platform import SEALING_KEY, Platform
from tests.support.processes import eventually, token

SUPERUSER = ("superuser",)
CANARY = "canary.person+«O'Neil»@example.org"


@pytest.fixture(scope="module")
async def gateway(platform: Platform) -> AsyncIterator[Front]:
    async with front(platform) as running:
        yield running


@pytest.fixture(scope="module")
async def replica(platform: Platform) -> AsyncIterator[Front]:
    async with front(platform) as running:
        yield running


@pytest.fixture
async def tenant(gateway: Front) -> UUID:
    return await gateway.new_tenant()


async def made(gateway: Front, tenant: UUID, name: str = "Shop") -> dict[str, Any]:
    answer = await gateway.call("POST", "/connectors", tenant=tenant, json=connector(name))
    assert answer.status == 201, answer.text
    body: dict[str, Any] = answer.body
    return body


async def delete(gateway: Front, tenant: UUID) -> Reply:
    return await gateway.call("DELETE", f"/tenants/{tenant}", tenant=None, roles=SUPERUSER)


async def told(gateway: Front, topic: Any, key: object) -> list[dict[str, Any]]:
    return [json.loads(each.value) for each in await gateway.events(topic) if each.key.decode() == str(key)]


# --- connectors


async def test_a_deleted_connector_is_told_and_makes_room_for_another_of_its_name(gateway: Front, tenant: UUID) -> None:
    first = await made(gateway, tenant)
    path = f"/connectors/{first['id']}"
    assert (await gateway.call("DELETE", path, tenant=tenant)).status == 204
    for method, where in (("GET", path), ("DELETE", path), ("POST", f"{path}/query-log-mining"), ("PATCH", path)):
        assert (await gateway.call(method, where, tenant=tenant, json={})).status == 404, method
    second = await made(gateway, tenant)
    assert second["id"] != first["id"]
    events = await told(gateway, CONNECTOR_CHANGED, first["id"])
    assert [(each["version"], each["deleted"], bool(each["sealed_settings"])) for each in events] == [
        (1, False, True),
        (2, True, False),
    ]


# --- tenants


async def test_a_deleted_tenant_is_gone_at_once(gateway: Front, tenant: UUID) -> None:
    connectors = [await made(gateway, tenant, name) for name in ("a", "b", "c")]
    await gateway.call("DELETE", f"/connectors/{connectors[2]['id']}", tenant=tenant)
    key = await gateway.call("POST", "/api-keys", tenant=tenant, json={"name": "k"}, headers={"Idempotency-Key": "k"})
    assert (await gateway.call("GET", "/connectors", tenant=tenant, bearer=key.body["key"])).status == 200
    assert (await gateway.call("POST", "/users/erase", tenant=tenant, json={"username": "ada"})).status == 202

    assert (await delete(gateway, tenant)).status == 204
    for bearer in (None, key.body["key"]):
        for method, path in (
            ("GET", "/connectors"),
            ("POST", "/connectors"),
            ("GET", f"/tenants/{tenant}"),
            ("GET", "/spaces"),
            ("POST", "/spaces"),
            ("GET", f"/connectors/{connectors[0]['id']}/queries"),
        ):
            refused = await gateway.call(method, path, tenant=tenant, bearer=bearer, json={})
            assert (refused.status, refused.headers["WWW-Authenticate"][:6]) == (401, "Bearer"), (method, path)
    keyed = await gateway.call("POST", "/api-keys", tenant=tenant, json={"name": "k"}, headers={"Idempotency-Key": "k"})
    assert keyed.status == 401

    for table in TENANT_TABLES:
        left = await gateway.sql(f"SELECT count(*) FROM gateway.{table} WHERE tenant_id = $1", tenant)
        assert left[0][0] == 0, table
    (last,) = (await told(gateway, TENANT_CHANGED, tenant))[1:]
    assert (last["version"], last["deleted"], last["name"], last["slug"]) == (2, True, None, None)
    for each in connectors:
        events = await told(gateway, CONNECTOR_CHANGED, each["id"])
        assert (events[-1]["deleted"], events[-1]["version"], len(events)) == (True, 2, 2)


async def test_another_replica_believes_a_tenant_for_ten_seconds_at_most(
    gateway: Front, replica: Front, tenant: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two here: what a replica believes is what these say."""
    for module, name in ((living, "_BELIEVED"), (identity, "_KEY_BELIEVED")):
        assert getattr(module, name) <= 10
        monkeypatch.setattr(module, name, 2.0)
    key = await gateway.call("POST", "/api-keys", tenant=tenant, json={"name": "k"})
    bearers = {"token": token(tenant, "staff"), "key": key.body["key"]}
    for bearer in bearers.values():
        assert (await replica.call("GET", "/spaces", tenant=tenant, bearer=bearer)).status != 401
    await delete(gateway, tenant)

    async def refused() -> bool:
        answers = [await replica.call("GET", "/spaces", tenant=tenant, bearer=each) for each in bearers.values()]
        return {answer.status for answer in answers} == {401}

    # Nothing can be made meanwhile by whoever is still let in.
    creating = await replica.call("POST", "/connectors", tenant=tenant, json=connector())
    assert creating.status in (401, 403)
    await eventually(refused, seconds=3)  # a look that begins behind that is the last


async def test_only_superusers_delete_tenants(gateway: Front, tenant: UUID) -> None:
    for roles in ((), ("staff",)):
        refused = await gateway.call("DELETE", f"/tenants/{tenant}", tenant=tenant, roles=roles)
        assert refused.status == 403
    assert (await gateway.call("DELETE", f"/tenants/{uuid4()}", tenant=None, roles=SUPERUSER)).status == 404
    assert (await gateway.call("DELETE", "/tenants/x", tenant=None, roles=SUPERUSER)).status == 422
    assert (await gateway.call("GET", f"/tenants/{tenant}", tenant=tenant)).status == 200


async def test_a_deleted_tenant_is_not_shown_and_its_slug_is_free(gateway: Front) -> None:
    body = {"name": "Once", "slug": f"once-{uuid4().hex[:6]}"}
    first = await gateway.call("POST", "/tenants", tenant=None, roles=SUPERUSER, json=body)
    assert (await delete(gateway, first.body["id"])).status == 204
    assert (await delete(gateway, first.body["id"])).status == 404
    shown = await gateway.call("GET", f"/tenants/{first.body['id']}", tenant=None, roles=SUPERUSER)
    listed = await gateway.call("GET", "/tenants?limit=500", tenant=None, roles=SUPERUSER)
    assert shown.status == 404
    assert first.body["id"] not in [each["id"] for each in listed.body["items"]]
    second = await gateway.call("POST", "/tenants", tenant=None, roles=SUPERUSER, json=body)
    assert (second.status, second.body["id"] == first.body["id"]) == (201, False)


async def test_what_is_made_while_a_tenant_is_deleted_is_deleted_or_refused(gateway: Front, replica: Front) -> None:
    """Whatever the order: no connector is left, and each that was told of is told to be deleted."""
    for _ in range(5):
        tenant = await gateway.new_tenant()
        await replica.call("GET", "/connectors", tenant=tenant)
        bodies = [connector(f"c{n}") for n in range(6)]
        making = [replica.call("POST", "/connectors", tenant=tenant, json=body) for body in bodies]
        deleting, *answers = await asyncio.gather(delete(gateway, tenant), *making)
        assert deleting.status == 204
        assert {answer.status for answer in answers} <= {201, 401, 403}
        assert await gateway.sql("SELECT FROM gateway.connector WHERE tenant_id = $1", tenant) == []
        for answer in answers:
            if answer.status == 201:
                assert (await told(gateway, CONNECTOR_CHANGED, answer.body["id"]))[-1]["deleted"]


# --- persons


async def holding(gateway: Front, text: str) -> list[str]:
    """Tables of all schemas in which a text stands, once what was told of the changes has left the outbox."""
    await gateway.relayed()
    tables = await gateway.sql(
        """SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
           WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"""
    )
    names = [table["name"] for table in tables]
    where = "SELECT EXISTS (SELECT FROM {} AS t WHERE strpos(t::text, $1) > 0)"
    return [name for name in names if (await gateway.sql(where.format(name), text))[0][0]]


async def erase(gateway: Front, tenant: UUID, name: str, field: str = "username", **options: Any) -> Reply:
    return await gateway.call("POST", "/users/erase", tenant=tenant, json={field: name}, **options)


async def test_an_erased_person_is_told_sealed_and_stands_nowhere(gateway: Front, tenant: UUID) -> None:
    hers = token(tenant, "staff", user=CANARY)
    others = await gateway.call("POST", "/api-keys", tenant=tenant, json={"name": "other"})
    made_by = await gateway.call(
        "POST", "/api-keys", tenant=tenant, bearer=hers, json={"name": "k"}, headers={"Idempotency-Key": "one"}
    )
    assert made_by.body["created_by"] == CANARY
    assert await holding(gateway, CANARY) == ["gateway.api_key"]

    answer = await erase(gateway, tenant, CANARY, headers={"Idempotency-Key": "erase"})
    assert (answer.status, answer.body) == (202, {"status": "accepted"})
    assert await holding(gateway, CANARY) == []
    listed = await gateway.call("GET", "/api-keys", tenant=tenant)
    authors = {each["id"]: each["created_by"] for each in listed.body["items"]}
    (record,) = [r for r in await gateway.events(USER_ERASED) if r.key.decode() == str(tenant)]
    event = json.loads(record.value)
    assert CANARY not in record.value.decode()
    assert authors == {made_by.body["id"]: event["pseudonym"], others.body["id"]: "tester"}
    ring = KeyRing.of({"k1": SecretStr(SEALING_KEY)})
    assert ring.open(event["sealed_name"], bound_to=f"erasure:{tenant}").decode() == CANARY

    repeated = await gateway.call(
        "POST", "/api-keys", tenant=tenant, bearer=hers, json={"name": "k"}, headers={"Idempotency-Key": "one"}
    )
    assert CANARY not in repeated.text, "no stored answer names her"
    later = await gateway.call("POST", "/api-keys", tenant=tenant, bearer=hers, json={"name": "k2"})
    assert later.body["created_by"] == event["pseudonym"]
    assert await holding(gateway, CANARY) == []


async def test_stored_answers_of_others_stay(gateway: Front, tenant: UUID) -> None:
    request: dict[str, Any] = {"json": connector("kept"), "headers": {"Idempotency-Key": "kept"}}
    first = await gateway.call("POST", "/connectors", tenant=tenant, **request)
    await erase(gateway, tenant, "a")
    again = await gateway.call("POST", "/connectors", tenant=tenant, **request)
    assert (again.body, again.headers["Idempotency-Replayed"]) == (first.body, "true")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"username": "a", "executed_by": "a"},
        {"username": ""},
        {"executed_by": "a\x00"},
        {"username": "a" * 1025},
        {"username": 7},
        {"username": "a", "more": 1},
        [],
    ],
)
async def test_an_erasure_names_one_person(gateway: Front, tenant: UUID, body: object) -> None:
    assert (await gateway.call("POST", "/users/erase", tenant=tenant, json=body)).status == 422


async def test_only_staff_of_a_living_tenant_erases(gateway: Front, tenant: UUID) -> None:
    assert (await erase(gateway, tenant, "ada", "executed_by", roles=())).status == 403
    assert (await erase(gateway, uuid4(), "ada")).status == 403
    nobody = await gateway.call("POST", "/users/erase", tenant=None, roles=SUPERUSER, json={"username": "ada"})
    assert nobody.status == 403
    assert (await erase(gateway, tenant, "ada", "executed_by")).status == 202
