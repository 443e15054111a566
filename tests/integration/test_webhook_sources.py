"""The life of a webhook source: who may make one, what is shown of it, what is kept of its secret."""

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from libs.common.sealed import CannotOpen, KeyRing, encode
from services.gateway.registry.webhook_sources import secret_context
from tests.integration.gateway_harness import Front, Reply, front
from tests.integration.webhook_harness import Source, connected, new_source
from tests.support.platform import SEALING_KEY, Platform
from tests.support.webhooks import payload

GIVEN = "canary-given-secret-0123456789"
NAMES = {
    "id", "name", "kind", "environment", "enabled", "signed_only", "mapping", "path", "old_secret_valid",
    "old_secret_until", "version", "created_at", "updated_at",
}  # fmt: skip


@pytest.fixture(scope="module")
async def gateway(platform: Platform) -> AsyncIterator[Front]:
    async with front(platform) as running:
        await connected(running)
        yield running


@pytest.fixture
async def tenant(gateway: Front) -> UUID:
    return await gateway.new_tenant()


async def _make(gateway: Front, tenant: UUID, /, key: str = "", **body: Any) -> Reply:
    wanted = {"name": "CI", "kind": "github", **body}
    headers = {"Idempotency-Key": key} if key else {}
    return await gateway.call("POST", "/webhook-sources", tenant=tenant, json=wanted, headers=headers)


async def test_the_life_of_a_source(gateway: Front, tenant: UUID) -> None:
    made = (await _make(gateway, tenant, environment="staging")).body
    secret = made.pop("secret")
    assert (set(made), len(secret)) == (NAMES, 43)
    path = f"/webhook-sources/{made['id']}"
    assert made["path"] == f"/webhooks/{made['id']}"
    assert (made["environment"], made["version"], made["old_secret_valid"]) == ("staging", 1, False)
    assert (await gateway.call("GET", path, tenant=tenant)).body == made

    changes = {"name": "Deploys", "enabled": False, "mapping": {"components": {"acme/checkout": "checkout"}}}
    changed = (await gateway.call("PATCH", path, tenant=tenant, json=changes)).body
    assert (changed["name"], changed["enabled"], changed["version"]) == ("Deploys", False, 2)
    assert changed["mapping"]["components"] == {"acme/checkout": "checkout"}
    assert changed["mapping"]["fields"]["started_at"] == "startedAt"
    assert (await gateway.call("PATCH", path, tenant=tenant, json=changes)).body == changed

    assert (await gateway.call("DELETE", path, tenant=tenant)).status == 204
    for method in ("GET", "PATCH", "DELETE"):
        assert (await gateway.call(method, path, tenant=tenant, json={})).status == 404
    assert (await gateway.call("GET", "/webhook-sources", tenant=tenant)).body["items"] == []


async def test_a_secret_is_given_or_made_and_shown_once(gateway: Front, tenant: UUID) -> None:
    given = await _make(gateway, tenant, secret=GIVEN)
    assert given.body["secret"] == GIVEN
    gitlab = (await _make(gateway, tenant, kind="gitlab", name="GitLab")).body["secret"]
    assert len(base64.b64decode(gitlab.removeprefix("whsec_"))) == 32
    secrets = [GIVEN, gitlab]
    path = f"/webhook-sources/{given.body['id']}"
    shown = [
        await gateway.call("GET", path, tenant=tenant),
        await gateway.call("GET", "/webhook-sources", tenant=tenant),
        await gateway.call("PATCH", path, tenant=tenant, json={"enabled": False}),
    ]
    assert not any(secret in each.text for secret in secrets for each in shown)


async def test_secrets_are_sealed_for_their_source_alone(gateway: Front, tenant: UUID) -> None:
    made = (await _make(gateway, tenant, secret=GIVEN)).body
    await gateway.call("POST", f"/webhook-sources/{made['id']}/rotate", tenant=tenant, json={})
    (row,) = await gateway.sql(
        "SELECT s, s::text AS text FROM gateway.webhook_source s WHERE id = $1", UUID(made["id"])
    )
    assert GIVEN not in row["text"]
    sealed = row["s"]["sealed_old_secret"]
    ring = KeyRing.of({"k1": SecretStr(SEALING_KEY)})
    assert ring.open(sealed, bound_to=secret_context(tenant, UUID(made["id"]))).decode() == GIVEN
    for other in (secret_context(tenant, uuid4()), secret_context(uuid4(), UUID(made["id"]))):
        with pytest.raises(CannotOpen):
            ring.open(sealed, bound_to=other)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"secret": "canary-short"}, "secret"),
    ({"secret": "canary " * 4}, "secret"),
    ({"secret": "canary-ü-0123456789"}, "secret"),
    ({"secret": "canary" * 50}, "secret"),
    ({"secret": "whsec_canary%%%%%%%%%%"}, "secret"),
    ({"secret": 1234567890123456789}, "secret"),
    ({"kind": "jenkins"}, "kind"),
    ({"kind": None}, "kind"),
    ({"name": " "}, "name"),
    ({"environment": "canary"}, "environment"),
    ({"signed_only": True, "kind": "argocd"}, "signed_only"),
    ({"mapping": {"component": {}}}, "mapping.component"),
    ({"mapping": {"components": {"x": 7}}}, "mapping.components"),
    ({"mapping": {"statuses": {"ok": "canary"}}}, "mapping.statuses"),
    ({"mapping": {"fields": {"id": "a..b"}}}, "mapping.fields.id"),
    ({"tenant_id": str(uuid4())}, "tenant_id"),
]


@pytest.mark.parametrize(("body", "field"), BAD)
async def test_a_bad_source_is_refused_with_its_field(
    gateway: Front, tenant: UUID, body: dict[str, Any], field: str
) -> None:
    answer = await _make(gateway, tenant, **body)
    assert (answer.status, field in answer.body["detail"]) == (422, True), answer.text
    assert "canary" not in answer.text


async def test_signed_only_is_for_who_can_sign(gateway: Front, tenant: UUID) -> None:
    for kind, status in (("gitlab", 200), ("generic", 200), ("devlake", 422), ("github", 422)):
        made = (await _make(gateway, tenant, kind=kind, name=kind)).body
        path = f"/webhook-sources/{made['id']}"
        assert (await gateway.call("PATCH", path, tenant=tenant, json={"signed_only": True})).status == status, kind


async def test_names_are_unique_in_a_tenant(gateway: Front, tenant: UUID) -> None:
    assert (await _make(gateway, tenant)).status == 201
    assert (await _make(gateway, tenant)).status == 409
    other = (await _make(gateway, tenant, name="B")).body
    path = f"/webhook-sources/{other['id']}"
    assert (await gateway.call("PATCH", path, tenant=tenant, json={"name": "CI"})).status == 409
    assert (await _make(gateway, await gateway.new_tenant())).status == 201


async def test_only_staff_of_the_tenant_sees_a_source(gateway: Front) -> None:
    source = await new_source(gateway, "github")
    stranger = await gateway.new_tenant()
    requests = [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/rotate"), ("DELETE", "/old-secret")]
    for who, roles, expected in ((stranger, ("staff",), 404), (source.tenant, (), 403)):
        for method, rest in requests:
            path = f"/webhook-sources/{source.id}{rest}"
            answer = await gateway.call(method, path, tenant=who, roles=roles, json={})
            assert answer.status == expected, (method, rest)
    print(f"WEBHOOK_SOURCES foreign_requests={2 * len(requests)} found=0")
    assert (await gateway.call("GET", "/webhook-sources", tenant=stranger)).body["items"] == []
    assert (await gateway.call("GET", "/webhook-sources", tenant=source.tenant, roles=())).status == 403
    assert (await gateway.call("POST", "/webhook-sources", tenant=None, json={})).status == 403
    assert (await gateway.call("GET", "/webhook-sources/x", tenant=stranger)).status == 422
    assert (await source.staff("GET")).body["version"] == 1


async def test_sources_are_paged(gateway: Front, tenant: UUID) -> None:
    wanted = [(await _make(gateway, tenant, name=f"s{n}")).body["id"] for n in range(3)]
    first = (await gateway.call("GET", "/webhook-sources?limit=2", tenant=tenant)).body
    cursor = first["next_cursor"]
    rest = (await gateway.call("GET", f"/webhook-sources?limit=2&cursor={cursor}", tenant=tenant)).body
    assert [each["id"] for each in (*first["items"], *rest["items"])] == wanted
    assert rest["next_cursor"] is None


async def test_the_same_request_again_makes_one_source(gateway: Front, tenant: UUID) -> None:
    key = uuid4().hex
    first, again = [await _make(gateway, tenant, key=key) for _ in range(2)]
    assert (first.status, again.status, again.body) == (201, 201, first.body)
    elsewhere = await _make(gateway, await gateway.new_tenant(), key=key)
    assert elsewhere.body["id"] != first.body["id"]
    assert (await _make(gateway, tenant, key=key, name="Other")).status == 422


async def test_the_same_rotation_again_changes_nothing(gateway: Front, tenant: UUID) -> None:
    path = f"/webhook-sources/{(await _make(gateway, tenant)).body['id']}/rotate"
    headers = {"Idempotency-Key": uuid4().hex}
    first = await gateway.call("POST", path, tenant=tenant, json={}, headers=headers)
    again = await gateway.call("POST", path, tenant=tenant, json={}, headers=headers)
    assert (again.status, again.body) == (first.status, first.body)
    # The answer is lost: the same request runs again.
    await gateway.sql("DELETE FROM gateway.idempotency_key WHERE tenant_id = $1", tenant)
    assert (await gateway.call("POST", path, tenant=tenant, json={}, headers=headers)).body == first.body
    same = {"secret": first.body["secret"]}
    assert (await gateway.call("POST", path, tenant=tenant, json=same)).body["version"] == 2
    async with gateway.session.get(gateway.url + "/metrics") as answer:
        assert 'route="/webhook-sources/{source_id}/rotate"' in await answer.text()


async def test_a_source_whose_secret_is_lost_gets_a_new_one(gateway: Front, platform: Platform, tenant: UUID) -> None:
    made = (await _make(gateway, tenant)).body
    async with front(platform, sealing_keys={"k2": encode(bytes(32))}) as other:
        now = {"old_secret_until": datetime.now(UTC).isoformat()}
        rotated = await other.call("POST", f"/webhook-sources/{made['id']}/rotate", tenant=tenant, json=now)
        assert rotated.status == 200, rotated.text
        source = Source(other, tenant, made["id"], rotated.body["secret"])
        assert (await source.github(payload("github_ping"), "ping")).status == 200


async def test_two_changes_at_once_are_two_versions(gateway: Front, tenant: UUID) -> None:
    path = f"/webhook-sources/{(await _make(gateway, tenant)).body['id']}"
    rotations = [gateway.call("POST", f"{path}/rotate", tenant=tenant, json={}) for _ in range(5)]
    renamed = [gateway.call("PATCH", path, tenant=tenant, json={"name": f"n{n}"}) for n in range(5)]
    answers = await asyncio.gather(*rotations, *renamed)
    assert sorted(answer.body["version"] for answer in answers) == list(range(2, 12))


async def test_sources_go_with_their_tenant(gateway: Front, platform: Platform) -> None:
    source = await new_source(gateway, "github")
    gone = await gateway.call("DELETE", f"/tenants/{source.tenant}", tenant=None, roles=("superuser",))
    assert gone.status == 204
    assert await gateway.sql("SELECT FROM gateway.webhook_source WHERE tenant_id = $1", source.tenant) == []
    async with front(platform) as replica:
        answer = await Source(replica, source.tenant, source.id, source.secret).github(payload("github_ping"), "ping")
        assert answer.status == 404


async def test_the_documents_show_the_routes(gateway: Front) -> None:
    document = (await gateway.call("GET", "/openapi.json", tenant=None)).body
    shown = {path: sorted(document["paths"][path]) for path in document["paths"] if path.startswith("/webhook")}
    assert shown == {
        "/webhook-sources": ["get", "post"],
        "/webhook-sources/{source_id}": ["delete", "get", "patch"],
        "/webhook-sources/{source_id}/rotate": ["post"],
        "/webhook-sources/{source_id}/old-secret": ["delete"],
        "/webhooks/{source}": ["post"],
    }
    receive = document["paths"]["/webhooks/{source}"]["post"]
    assert (receive["security"], sorted(receive["responses"])[:2]) == ([], ["200", "202"])
    secret = document["components"]["schemas"]["CreateWebhookSource"]["properties"]["secret"]
    assert "writeOnly" in str(secret)
