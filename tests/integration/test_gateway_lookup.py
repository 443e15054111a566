"""What the pass-through looks up for each request to a connector: never another tenant's, never what is gone."""

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from libs.common.db import Database
from libs.common.errors import NotFound
from services.gateway.settings import Settings
from services.gateway.store.connectors import ConnectorFacts, connector_facts
from tests.integration.gateway_harness import Front, connector, front
from tests.support.platform import Platform, values_of


@pytest.fixture(scope="module")
async def gateway(platform: Platform) -> AsyncIterator[Front]:
    async with front(platform) as running:
        yield running


@pytest.fixture
async def database(platform: Platform) -> AsyncIterator[Database]:
    """One connection a pool, so that each use finds what the one before left."""
    values = values_of(platform.gateway_environment(1, {})) | {"database_pool_size": 1}
    opened = await Database.open(Settings.model_validate(values), "lookup")
    yield opened
    await opened.close()


async def _made(gateway: Front, tenant: UUID) -> UUID:
    return UUID((await gateway.call("POST", "/connectors", tenant=tenant, json=connector())).body["id"])


async def test_only_the_tenant_finds_its_connector(gateway: Front, database: Database) -> None:
    ours, others = await gateway.new_tenant(), await gateway.new_tenant()
    made = await _made(gateway, ours)
    assert await connector_facts(database.api, ours, made) == ConnectorFacts("postgres", 1)
    assert await connector_facts(database.api, others, made) is None
    assert await connector_facts(database.api, ours, uuid4()) is None
    assert await connector_facts(database.api, ours, made) == ConnectorFacts("postgres", 1)


async def test_a_connection_goes_back_bound_to_nobody(gateway: Front, database: Database) -> None:
    tenant = await gateway.new_tenant()
    made = await _made(gateway, tenant)
    bound = "SELECT coalesce(current_setting('app.tenant', true), '')"
    found: list[str] = []
    await connector_facts(database.api, tenant, made)
    found.append(await database.api.fetchval(bound))
    async with database.tenant(tenant) as connection:
        assert await connection.fetchval(bound) == str(tenant)
    found.append(await database.api.fetchval(bound))
    with pytest.raises(NotFound):
        async with database.tenant(tenant) as connection:
            raise NotFound("as a use case does")
    found.append(await database.api.fetchval(bound))
    assert found == ["", "", ""]
    assert await database.api.fetchval("SELECT count(*) FROM connector") == 0


async def test_changes_count_at_once_at_every_replica(platform: Platform, gateway: Front) -> None:
    tenant = await gateway.new_tenant()
    made = await _made(gateway, tenant)
    async with front(platform) as replica:
        for each in (gateway, replica):
            assert (await each.call("GET", f"/connectors/{made}/queries", tenant=tenant)).status == 200
        await gateway.call("PATCH", f"/connectors/{made}", tenant=tenant, json={"name": "Renamed"})
        for each in (gateway, replica):
            await each.call("GET", f"/connectors/{made}/queries", tenant=tenant)
            assert each.upstream.seen[-1].caller.connector_version == 2
        await gateway.call("DELETE", f"/connectors/{made}", tenant=tenant)
        for each in (gateway, replica):
            assert (await each.call("GET", f"/connectors/{made}/queries", tenant=tenant)).status == 404


async def test_roles_of_a_new_token_count_at_once(gateway: Front) -> None:
    tenant = await gateway.new_tenant()
    for roles in (("staff",), (), ("staff", "superuser"), ("staff",)):
        await gateway.call("GET", "/spaces", tenant=tenant, roles=roles)
        assert gateway.upstream.seen[-1].caller.roles == frozenset(roles)
