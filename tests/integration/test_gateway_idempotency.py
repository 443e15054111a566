"""Idempotency-Key: one effect, whatever happens in between (G11); and what the gateway leaves at rest."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from uuid import UUID, uuid4

import pytest

from libs.common.topics import CONNECTOR_CHANGED, TENANT_CHANGED
from tests.integration.gateway_harness import Front, Reply, connector, front, secret_of
from tests.support.platform import Platform
from tests.support.processes import eventually

CANARY = "canary-7f3a9c"


@pytest.fixture(scope="module")
async def gateway(platform: Platform) -> AsyncIterator[Front]:
    async with front(platform) as running:
        yield running


@pytest.fixture
async def tenant(gateway: Front) -> UUID:
    return await gateway.new_tenant()


async def _post(gateway: Front, tenant: UUID, key: str, path: str = "/spaces", **wish: object) -> Reply:
    return await gateway.call("POST", path, tenant=tenant, json=wish, headers={"Idempotency-Key": key})


def _replayed(reply: Reply) -> bool:
    return reply.headers.get("Idempotency-Replayed") == "true"


async def test_the_first_answer_is_given_again(gateway: Front, tenant: UUID) -> None:
    before = gateway.upstream.effects
    first, second = [await _post(gateway, tenant, "k", name="x") for _ in range(2)]
    assert (first.status, second.status, gateway.upstream.effects) == (201, 201, before + 1)
    assert first.body == second.body
    assert first.headers["Location"] == second.headers["Location"]
    assert (_replayed(first), _replayed(second)) == (False, True)
    assert gateway.upstream.seen[-1].headers["idempotency-key"] == "k"


async def test_another_request_under_the_key_is_refused(gateway: Front, tenant: UUID) -> None:
    await _post(gateway, tenant, "k", name="x")
    body = await _post(gateway, tenant, "k", name="y")
    query = await _post(gateway, tenant, "k", "/spaces?dry=1", name="x")
    somebody = await gateway.call(
        "POST", "/spaces", tenant=tenant, roles=(), json={"name": "x"}, headers={"Idempotency-Key": "k"}
    )
    assert (body.status, query.status, _replayed(somebody)) == (422, 422, True)
    assert body.body["code"] == "idempotency_key_reused"


async def test_tenants_and_routes_have_keys_of_their_own(gateway: Front, tenant: UUID) -> None:
    before = gateway.upstream.effects
    other = await gateway.new_tenant()
    for owner in (tenant, other):
        assert not _replayed(await _post(gateway, owner, "k", name="x"))
    assert gateway.upstream.effects == before + 2
    assert not _replayed(await _post(gateway, tenant, "k", "/spaces/shop/usage/aggregate"))


async def test_many_at_once_have_one_effect(gateway: Front, tenant: UUID) -> None:
    before = gateway.upstream.effects
    replies = await asyncio.gather(*(_post(gateway, tenant, "k", name="x", pause=0.3) for _ in range(20)))
    created = [reply for reply in replies if reply.status == 201]
    refused = [reply for reply in replies if reply.status == 409]
    print(f"IDEMPOTENCY requests=20 effects={gateway.upstream.effects - before} refused={len(refused)}")
    assert gateway.upstream.effects == before + 1
    assert len(created) + len(refused) == 20
    assert {reply.body["number"] for reply in created} == {before + 1}
    assert all(reply.body["code"] == "request_in_progress" and reply.headers["Retry-After"] for reply in refused)


async def test_connectors_made_at_once_are_one_connector(gateway: Front, tenant: UUID) -> None:
    async def create() -> Reply:
        headers = {"Idempotency-Key": "k"}
        return await gateway.call("POST", "/connectors", tenant=tenant, json=connector(), headers=headers)

    replies = await asyncio.gather(*(create() for _ in range(10)))
    assert {reply.status for reply in replies} <= {201, 409}
    assert len((await gateway.call("GET", "/connectors", tenant=tenant)).body["items"]) == 1
    last = await create()
    assert (last.status, _replayed(last)) == (201, True)


@pytest.mark.parametrize("status", [400, 404, 409, 422, 429, 503])
async def test_which_answers_are_kept(gateway: Front, tenant: UUID, status: int) -> None:
    kept = status in {400, 404, 422}
    before = gateway.upstream.effects
    first, second = [await _post(gateway, tenant, f"k{status}", status=status) for _ in range(2)]
    assert (first.status, second.status, _replayed(second)) == (status, status, kept)
    assert gateway.upstream.effects == before + (1 if kept else 2)


async def test_a_large_request_is_413_and_a_large_answer_passes_unstored(gateway: Front, tenant: UUID) -> None:
    content = BytesIO(json.dumps({"name": "x" * 1_048_577}).encode())
    large = await gateway.call("POST", "/spaces", tenant=tenant, data=content, headers={"Idempotency-Key": "k1"})
    assert (large.status, large.body["code"]) == (413, "too_large")
    for _ in range(2):
        reply = await _post(gateway, tenant, "k2", size=3_000_000)
        assert (reply.status, len(reply.text), _replayed(reply)) == (201, 3_000_000, False)


async def test_an_answer_that_breaks_off_is_503_and_not_kept(gateway: Front, tenant: UUID) -> None:
    before = gateway.upstream.effects
    for _ in range(2):
        assert (await _post(gateway, tenant, "k", breaks=True)).status == 503
    assert gateway.upstream.effects == before + 2


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\u00e9"])
async def test_a_malformed_key_is_422(gateway: Front, tenant: UUID, key: str) -> None:
    for path in ("/spaces", "/connectors"):
        assert (await _post(gateway, tenant, key, path)).status == 422


async def test_only_posts_have_keys_and_strangers_none(gateway: Front, tenant: UUID) -> None:
    headers = {"Idempotency-Key": "k"}
    for _ in range(2):
        assert not _replayed(await gateway.call("GET", "/spaces", tenant=tenant, headers=headers))
    for path in ("/spaces", "/connectors"):
        assert (await gateway.call("POST", path, tenant=None, bearer="x", headers=headers)).status == 401


async def _age(gateway: Front, tenant: UUID, age: timedelta) -> None:
    at = datetime.now(UTC) - age
    await gateway.sql("UPDATE gateway.idempotency_key SET created_at = $2 WHERE tenant_id = $1", tenant, at)


async def test_after_a_day_a_key_is_new(gateway: Front, tenant: UUID) -> None:
    first = await _post(gateway, tenant, "k", name="x")
    await _age(gateway, tenant, timedelta(hours=23, minutes=59))
    assert _replayed(await _post(gateway, tenant, "k", name="x"))
    await _age(gateway, tenant, timedelta(hours=24, minutes=1))
    later = await _post(gateway, tenant, "k", name="another")
    assert (later.status, later.body == first.body) == (201, False)


async def test_a_request_whose_process_died_runs_again_when_its_lease_is_over(platform: Platform) -> None:
    async with front(platform) as gateway:
        tenant = await gateway.new_tenant()
        await _post(gateway, tenant, "k", name="x")
        # What a kill -9 between effect and answer leaves behind.
        left = "UPDATE gateway.idempotency_key SET state = 'running', status = NULL, answer = NULL, lease_until = $2"
        await gateway.sql(f"{left} WHERE tenant_id = $1", tenant, datetime.now(UTC) + timedelta(hours=1))
        waiting = await _post(gateway, tenant, "k", name="x")
        await _lease_until(gateway, tenant, datetime.now(UTC))
        again = await _post(gateway, tenant, "k", name="x")
        assert (waiting.status, again.status, _replayed(again)) == (409, 201, False)
        assert _replayed(await _post(gateway, tenant, "k", name="x"))


async def test_a_lease_is_renewed_while_its_request_runs(platform: Platform) -> None:
    async with front(platform, idempotency_lease_seconds=2) as gateway:
        tenant = await gateway.new_tenant()
        slow = asyncio.create_task(_post(gateway, tenant, "k", name="x", held=True))
        await gateway.upstream.started.wait()
        first = await _lease(gateway, tenant)

        async def is_renewed() -> bool:
            return await _lease(gateway, tenant) > first and datetime.now(UTC) > first

        await eventually(is_renewed)
        assert (await _post(gateway, tenant, "k", name="x", held=True)).status == 409
        gateway.upstream.gate.set()
        assert (await slow).status == 201
        assert gateway.upstream.effects == 1


async def _lease(gateway: Front, tenant: UUID) -> datetime:
    (row,) = await gateway.sql("SELECT lease_until FROM gateway.idempotency_key WHERE tenant_id = $1", tenant)
    until: datetime = row["lease_until"]
    return until


async def _lease_until(gateway: Front, tenant: UUID, moment: datetime) -> None:
    await gateway.sql("UPDATE gateway.idempotency_key SET lease_until = $2 WHERE tenant_id = $1", tenant, moment)


async def test_a_creation_that_runs_twice_makes_one(gateway: Front, tenant: UUID) -> None:
    """As after a crash between the creation and the storing of its answer."""
    posts = (("/connectors", connector()), ("/api-keys", {"name": "k"}))
    for path, body in posts:
        headers = {"Idempotency-Key": "k"}
        first = await gateway.call("POST", path, tenant=tenant, json=body, headers=headers)
        await gateway.sql("DELETE FROM gateway.idempotency_key WHERE tenant_id = $1", tenant)
        second = await gateway.call("POST", path, tenant=tenant, json=body, headers=headers)
        assert (first.status, second.status, first.body["id"] == second.body["id"]) == (201, 201, True)
        assert len((await gateway.call("GET", path, tenant=tenant)).body["items"]) == 1
    key = second.body["key"]
    assert (await gateway.call("GET", "/connectors", tenant=None, bearer=key)).status == 200
    assert (await gateway.call("GET", "/connectors", tenant=None, bearer=first.body["key"])).status == 401
    await gateway.sql("DELETE FROM gateway.idempotency_key WHERE tenant_id = $1", tenant)
    used = await gateway.call("POST", *posts[1][:1], tenant=tenant, json=posts[1][1], headers=headers)
    assert used.status == 409


async def test_a_tenant_under_a_key_is_one_tenant(gateway: Front) -> None:
    headers, body = {"Idempotency-Key": uuid4().hex}, {"name": f"t-{uuid4().hex[:6]}"}
    made = [
        await gateway.call("POST", "/tenants", tenant=None, roles=("superuser",), json=body, headers=headers)
        for _ in range(2)
    ]
    assert [reply.status for reply in made] == [201, 201]
    assert made[0].body == made[1].body


async def test_no_secret_is_left_anywhere(
    gateway: Front, tenant: UUID, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    keyed = {"Idempotency-Key": "k"}
    body = connector("Canary", password=CANARY)
    replies = [await gateway.call("POST", "/connectors", tenant=tenant, json=body, headers=keyed) for _ in range(2)]
    path = f"/connectors/{replies[0].body['id']}"
    secret = {"settings": {"password": CANARY}}
    for method, at, wish in (
        ("GET", path, None),
        ("GET", "/connectors", None),
        ("PATCH", path, {"settings": {"password": CANARY, "lookback_days": 7}}),
        ("PUT", path, connector("Canary", password=CANARY)),
        ("PATCH", path, {"settings": {"password": {"nested": CANARY}}}),
        ("PATCH", path, {"settings": {"password": CANARY, "port": CANARY}}),
        ("PATCH", path, secret | {"name": ""}),
        ("POST", "/connectors", connector("Canary", password=CANARY)),
        ("POST", "/connectors", connector("Canary", password=CANARY) | {"settings": {"password": CANARY}}),
        ("POST", "/connectors", connector("Other", password=CANARY, host="10.1.1.1")),
        ("POST", f"{path}/test", None),
        ("DELETE", path, None),
    ):
        replies.append(await gateway.call(method, at, tenant=tenant, json=wish))
    key = await gateway.call("POST", "/api-keys", tenant=tenant, json={"name": "k"}, headers=keyed)
    records = await gateway.events(CONNECTOR_CHANGED) + await gateway.events(TENANT_CHANGED)
    shown = "".join(reply.text + str(reply.headers) for reply in replies)
    told = "".join(str((record.key, record.value, record.headers)) for record in records)
    logged = caplog.text + json.dumps(capsys.readouterr())
    stored = await _dump(gateway)
    plain = (CANARY, secret_of(key.body["key"]))
    secrets = [*plain, *(secret.encode().hex() for secret in plain)]
    places = {"answers": shown, "events": told, "log": logged, "rows": stored}
    found = {place: sum(secret in text for secret in secrets) for place, text in places.items()}
    print(f"SECRETS answers={len(replies)} events={len(records)} found={sum(found.values())}")
    assert len(records) >= 4
    assert tenant.hex in stored.replace("-", "")
    assert not any(found.values()), found


async def _dump(gateway: Front) -> str:
    """Every row of the schema as text, binary columns in hex."""
    tables = await gateway.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'gateway'")
    rows = [await gateway.sql(f"SELECT t::text AS row FROM gateway.{table['tablename']} t") for table in tables]
    return "\n".join(row["row"] for table in rows for row in table)
