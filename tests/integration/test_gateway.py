"""The registry behind the gateway: tenants, connectors, API keys, and what is told of them."""

import asyncio
import json
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any
from uuid import UUID, uuid4

import pytest

from libs.common.connectors import settings_context
from libs.common.sealed import MASK, KeyRing
from libs.common.topics import CONNECTOR_CHANGED, TENANT_CHANGED
from tests.integration.gateway_harness import Front, connector, front, secret_of
from tests.support.ids import NOBODYS
from tests.support.platform import SEALING_KEY, Platform

SUPERUSER = ("superuser",)


@pytest.fixture(scope="module")
async def gateway(platform: Platform) -> AsyncIterator[Front]:
    async with front(platform) as running:
        yield running


@pytest.fixture
async def tenant(gateway: Front) -> UUID:
    return await gateway.new_tenant()


async def _made(gateway: Front, tenant: UUID, name: str = "Shop", **settings: object) -> dict[str, Any]:
    made = await gateway.call("POST", "/connectors", tenant=tenant, json=connector(name, **settings))
    assert made.status == 201, made.text
    body: dict[str, Any] = made.body
    return body


# --- tenants


async def test_a_superuser_makes_a_tenant_and_all_services_hear_of_it(gateway: Front) -> None:
    body = {"name": "Ödipus & Co", "slug": f"co-{uuid4().hex[:6]}"}
    made = await gateway.call("POST", "/tenants", tenant=None, roles=SUPERUSER, json=body)
    assert made.status == 201
    assert {key: made.body[key] for key in ("name", "slug", "version")} == body | {"version": 1}
    (record,) = [r for r in await gateway.events(TENANT_CHANGED) if r.key.decode() == made.body["id"]]
    told = json.loads(record.value)
    assert (told["id"], told["tenant"], told["slug"]) == (made.body["id"], made.body["id"], body["slug"])
    again = await gateway.call("POST", "/tenants", tenant=None, roles=SUPERUSER, json=body)
    assert (again.status, again.body["code"]) == (409, "conflict")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "  "},
        {"name": "a\x00b"},
        {"name": "x", "slug": "Not A Slug"},
        {"name": "x", "id": "y"},
        {"name": 7},
        {"name": "!!!"},
        [],
    ],
)
async def test_a_malformed_tenant_is_422(gateway: Front, body: object) -> None:
    assert (await gateway.call("POST", "/tenants", tenant=None, roles=SUPERUSER, json=body)).status == 422


async def test_others_make_no_tenants_and_see_only_their_own(gateway: Front, tenant: UUID) -> None:
    other = await gateway.new_tenant()
    for method, path, status in (
        ("POST", "/tenants", 403),
        ("GET", "/tenants", 403),
        ("GET", f"/tenants/{tenant}", 200),
        ("GET", f"/tenants/{other}", 404),
        ("GET", "/tenants/shop", 422),
    ):
        body = {"name": "x"} if method == "POST" else None
        assert (await gateway.call(method, path, tenant=tenant, json=body)).status == status, (method, path)
    seen = await gateway.call("GET", f"/tenants/{other}", tenant=None, roles=SUPERUSER)
    assert seen.body["id"] == str(other)


async def test_tenants_are_listed_page_by_page(gateway: Front) -> None:
    wanted = [str(await gateway.new_tenant()) for _ in range(3)]
    found, query = list[str](), "?limit=2"
    while True:
        page = (await gateway.call("GET", f"/tenants{query}", tenant=None, roles=SUPERUSER)).body
        found += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        assert len(page["items"]) == 2
        query = f"?limit=2&cursor={page['next_cursor']}"
    assert found[-3:] == wanted
    assert len(set(found)) == len(found)


# --- connectors


async def test_the_life_of_a_connector(gateway: Front, tenant: UUID) -> None:
    made = await _made(gateway, tenant)
    path = f"/connectors/{made['id']}"
    assert (made["version"], made["type"], made["environment"]) == (1, "postgres", "production")
    assert (made["settings"]["password"], made["settings"]["port"]) == (MASK, 5432)
    assert (await gateway.call("GET", path, tenant=tenant)).body == made

    patched = await gateway.call("PATCH", path, tenant=tenant, json={"settings": {"database": "other"}})
    assert (patched.body["version"], patched.body["settings"]["database"]) == (2, "other")
    same = await gateway.call("PATCH", path, tenant=tenant, json={"settings": {"database": "other"}})
    assert same.body["version"] == 2
    whole = connector("Renamed") | {"counts_executions": False}
    replaced = await gateway.call("PUT", path, tenant=tenant, json=whole)
    shown = [replaced.body[field] for field in ("version", "name", "counts_executions")]
    assert shown == [3, "Renamed", False]
    assert (await gateway.call("DELETE", path, tenant=tenant)).status == 204

    told = [json.loads(r.value) for r in await gateway.events(CONNECTOR_CHANGED) if r.key.decode() == made["id"]]
    assert [event["version"] for event in told] == [1, 2, 3, 4]
    assert [event["deleted"] for event in told] == [False, False, False, True]
    assert told[3]["sealed_settings"] is None
    ring = KeyRing.of(json.loads(f'{{"k1": "{SEALING_KEY}"}}', object_hook=_secrets))
    context = settings_context(tenant, made["id"])
    databases = [json.loads(ring.open(e["sealed_settings"], bound_to=context))["database"] for e in told[:3]]
    assert databases == ["shop", "other", "shop"]
    for method in ("GET", "PATCH", "DELETE"):
        assert (await gateway.call(method, path, tenant=tenant, json={})).status == 404
    assert (await gateway.call("GET", "/connectors", tenant=tenant)).body["items"] == []
    assert (await _made(gateway, tenant, "Renamed"))["version"] == 1


def _secrets(keys: dict[str, str]) -> dict[str, Any]:
    from pydantic import SecretStr

    return {name: SecretStr(key) for name, key in keys.items()}


async def test_a_kept_secret_stays_at_its_server(gateway: Front, tenant: UUID) -> None:
    made = await _made(gateway, tenant)
    path = f"/connectors/{made['id']}"
    moved = await gateway.call("PATCH", path, tenant=tenant, json={"settings": {"host": "127.0.0.2", "password": MASK}})
    assert moved.status == 422
    assert "settings.password" in moved.body["detail"]
    again = {"settings": {"host": "127.0.0.2", "password": "canary-2"}}
    assert (await gateway.call("PATCH", path, tenant=tenant, json=again)).body["settings"]["host"] == "127.0.0.2"


async def test_names_are_unique_among_those_that_live(gateway: Front, tenant: UUID) -> None:
    first, second = await _made(gateway, tenant, "A"), await _made(gateway, tenant, "B")
    taken = await gateway.call("POST", "/connectors", tenant=tenant, json=connector("A"))
    renamed = await gateway.call("PATCH", f"/connectors/{second['id']}", tenant=tenant, json={"name": "A"})
    assert (taken.status, renamed.status) == (409, 409)
    assert "'A'" in taken.body["detail"]
    await _made(gateway, await gateway.new_tenant(), "A")
    await gateway.call("DELETE", f"/connectors/{first['id']}", tenant=tenant)
    assert (await gateway.call("PATCH", f"/connectors/{second['id']}", tenant=tenant, json={"name": "A"})).status == 200


async def test_two_changes_at_once_are_two_versions(gateway: Front, tenant: UUID) -> None:
    path = f"/connectors/{(await _made(gateway, tenant))['id']}"
    changes = [{"settings": {"lookback_days": days}} for days in range(1, 11)]
    answers = await asyncio.gather(*(gateway.call("PATCH", path, tenant=tenant, json=change) for change in changes))
    assert sorted(answer.body["version"] for answer in answers) == list(range(2, 12))


async def test_another_tenant_s_connector_is_not_found(gateway: Front, tenant: UUID) -> None:
    path = f"/connectors/{(await _made(gateway, tenant))['id']}"
    stranger = await gateway.new_tenant()
    statuses = {}
    for method, suffix in (
        ("GET", ""),
        ("PATCH", ""),
        ("PUT", ""),
        ("DELETE", ""),
        ("POST", "/test"),
        ("POST", "/query-log-mining"),
        ("GET", "/mining-jobs"),
        ("GET", "/queries"),
    ):
        body = connector("Mine") if method in {"PUT", "PATCH"} else None
        statuses[method + suffix] = (await gateway.call(method, path + suffix, tenant=stranger, json=body)).status
    print(f"TENANTS foreign_requests={len(statuses)} found={sum(s != 404 for s in statuses.values())}")
    assert set(statuses.values()) == {404}
    assert (await gateway.call("GET", path, tenant=tenant)).body["version"] == 1
    assert (await gateway.call("GET", "/connectors", tenant=stranger)).body["items"] == []


async def test_lists_are_paged(gateway: Front, tenant: UUID) -> None:
    wanted = [(await _made(gateway, tenant, f"c{n}"))["id"] for n in range(5)]
    found, cursor = list[str](), ""
    for size in (2, 2, 1):
        page = (await gateway.call("GET", f"/connectors?limit=2{cursor}", tenant=tenant)).body
        assert len(page["items"]) == size
        found += [item["id"] for item in page["items"]]
        cursor = f"&cursor={page['next_cursor']}"
    assert (found, page["next_cursor"]) == (wanted, None)
    for bad in ("limit=0", "limit=501", "limit=x", "cursor=x", "cursor=W10", "cursor=%F0"):
        assert (await gateway.call("GET", f"/connectors?{bad}", tenant=tenant)).status == 422, bad


def superset(base_url: str) -> dict[str, object]:
    settings = {"type": "superset", "base_url": base_url, "username": "miner", "password": "canary"}
    return {"name": "bi", "settings": settings}


BAD_CONNECTORS: list[tuple[object, int, str]] = [
    (connector() | {"settings": {"type": "metabase", "url": "x"}}, 400, "available: postgres, superset"),
    (connector() | {"settings": {"type": "snowflake"}}, 400, "not available in this version"),
    (connector() | {"settings": {"type": "oracle"}}, 400, "Unknown connector type"),
    (connector() | {"settings": {"host": "x"}}, 422, "settings.type"),
    (connector() | {"settings": "canary"}, 422, "settings"),
    (connector() | {"settings": None}, 422, "settings"),
    (connector() | {"colour": "red"}, 422, "colour"),
    (connector(port=0), 422, "settings.port"),
    (connector(port="canary"), 422, "settings.port"),
    (connector(password=["canary"]), 422, "settings.password"),
    (connector(password=MASK), 422, "settings.password"),
    (connector(hots="x"), 422, "settings.hots"),
    (connector(host=None), 422, "settings.host"),
    (connector(name=""), 422, "name"),
    (connector("a\ud800"), 422, "name"),
    (connector(host="10.0.0.1"), 422, "TIDEMARK_EGRESS_ALLOW"),
    (connector(host="169.254.169.254"), 422, "TIDEMARK_EGRESS_ALLOW"),
    (connector(host="/var/run/postgresql"), 422, "host"),
    (connector() | {"settings": {"type": "superset", "host": "x"}}, 422, "settings.base_url"),
    (superset("ftp://canary"), 422, "settings.base_url"),
    (superset("https://user:canary@bi.example.com"), 422, "settings.base_url"),
    (superset("http://169.254.169.254/latest"), 422, "TIDEMARK_EGRESS_ALLOW"),
    (superset("http://[::1]:8088"), 422, "TIDEMARK_EGRESS_ALLOW"),
    ([], 422, "body"),
    ("canary", 422, "body"),
]


@pytest.mark.parametrize(("body", "status", "says"), BAD_CONNECTORS)
async def test_a_bad_connector_is_refused_with_its_reason(
    gateway: Front, tenant: UUID, body: object, status: int, says: str
) -> None:
    answer = await gateway.call("POST", "/connectors", tenant=tenant, json=body)
    assert (answer.status, set(answer.body) >= {"detail", "code", "trace_id"}) == (status, True)
    assert says in answer.body["detail"]
    assert "canary" not in answer.text


@pytest.mark.parametrize(("settings", "says"), [({"port": "canary"}, "settings.port"), ({"hots": 1}, "settings.hots")])
async def test_a_bad_change_names_its_field(gateway: Front, tenant: UUID, settings: object, says: str) -> None:
    path = f"/connectors/{(await _made(gateway, tenant))['id']}"
    answer = await gateway.call("PATCH", path, tenant=tenant, json={"settings": settings})
    assert (answer.status, answer.body["errors"][0]["field"]) == (422, says)
    assert "canary" not in answer.text


async def test_malformed_and_oversized_bodies(gateway: Front, tenant: UUID) -> None:
    headers = {"Content-Type": "application/json"}
    broken = await gateway.call("POST", "/connectors", tenant=tenant, data=b'{"name": canary', headers=headers)
    content = BytesIO(json.dumps(connector("x" * 2_000_000)).encode())
    huge = await gateway.call("POST", "/connectors", tenant=tenant, data=content, headers=headers)
    assert (broken.status, huge.status, huge.body["code"]) == (422, 413, "too_large")
    assert "canary" not in broken.text


async def test_types_describe_their_settings(gateway: Front, tenant: UUID) -> None:
    types = (await gateway.call("GET", "/connectors/types", tenant=tenant)).body["items"]
    assert [(each["type"], each["kind"]) for each in types] == [("postgres", "warehouse"), ("superset", "bi")]
    for each in types:
        properties = each["settings_schema"]["properties"]
        assert [name for name, field in properties.items() if field.get("writeOnly")] == ["password"]


async def test_a_tenant_that_does_not_exist_owns_nothing(gateway: Front) -> None:
    answer = await gateway.call("POST", "/connectors", tenant=uuid4(), json=connector())
    assert (answer.status, answer.body["code"]) == (403, "forbidden")
    assert (await gateway.call("GET", "/connectors", tenant=None)).status == 403


# --- identity


@pytest.mark.parametrize("bearer", ["nonsense", "a.b.c", f"tmk_{NOBODYS.hex}_secret", "tmk_x"])
@pytest.mark.parametrize("path", ["/connectors", "/spaces", f"/mining-jobs/{NOBODYS}"])
async def test_strangers_are_asked_who_they_are(gateway: Front, path: str, bearer: str) -> None:
    answer = await gateway.call("GET", path, tenant=None, bearer=bearer)
    assert (answer.status, answer.body["code"]) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.body["trace_id"]


async def test_an_api_key_is_shown_once_works_and_is_revoked(gateway: Front, tenant: UUID) -> None:
    wish = {"name": "ci", "environment": "staging", "roles": ["staff"]}
    made = (await gateway.call("POST", "/api-keys", tenant=tenant, json=wish)).body
    key, path = made.pop("key"), f"/api-keys/{made['id']}"
    created = await gateway.call("POST", "/connectors", tenant=None, bearer=key, json=connector())
    assert (created.status, created.body["environment"]) == (201, "staging")
    await gateway.call("GET", "/spaces", tenant=None, bearer=key)
    caller = gateway.upstream.seen[-1].caller
    assert (caller.subject, caller.username, caller.actor_type) == (made["id"], "ci", "api_key")
    assert (caller.tenant, caller.environment, caller.roles) == (tenant, "staging", frozenset({"staff"}))

    listed = await gateway.call("GET", "/api-keys", tenant=tenant)
    (shown,) = listed.body["items"]
    assert shown["last_used_at"] is not None
    assert shown | {"last_used_at": None} == made
    secret = secret_of(key)
    assert secret not in listed.text
    stored = await gateway.sql("SELECT k::text AS row FROM gateway.api_key k WHERE tenant_id = $1", tenant)
    assert secret not in stored[0]["row"]

    assert (await gateway.call("DELETE", path, tenant=await gateway.new_tenant())).status == 404
    assert (await gateway.call("DELETE", path, tenant=tenant)).status == 204
    assert (await gateway.call("GET", "/connectors", tenant=None, bearer=key)).status == 401
    assert (await gateway.call("GET", "/spaces", tenant=None, bearer=key)).status == 401


async def test_a_key_with_another_secret_is_refused(gateway: Front, tenant: UUID) -> None:
    key = (await gateway.call("POST", "/api-keys", tenant=tenant, json={"name": "k"})).body["key"]
    assert (await gateway.call("GET", "/connectors", tenant=None, bearer=key)).status == 200
    assert (await gateway.call("GET", "/connectors", tenant=None, bearer=key[:-1] + "~")).status == 401


async def test_who_may_make_keys(gateway: Front, tenant: UUID) -> None:
    for roles, wish, status in (
        ((), {"name": "k"}, 403),
        (("staff",), {"name": "k", "roles": ["superuser"]}, 403),
        (("superuser",), {"name": "k", "roles": ["superuser"]}, 201),
        (("staff",), {"name": "k", "roles": "staff"}, 422),
        (("staff",), {"name": "k", "environment": "testing"}, 422),
    ):
        assert (await gateway.call("POST", "/api-keys", tenant=tenant, roles=roles, json=wish)).status == status, wish
    assert (await gateway.call("GET", "/api-keys", tenant=tenant, roles=())).status == 403
    assert (await gateway.call("POST", "/api-keys", tenant=None, json={"name": "k"})).status == 403
