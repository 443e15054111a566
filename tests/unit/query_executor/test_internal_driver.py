"""How tenants share the connections to their schemas. A driver opens nothing before its first statement."""

import asyncio
from uuid import UUID

import pytest
from pydantic import SecretStr

from libs.common.errors import Unavailable
from services.query_executor.drivers import internal
from services.query_executor.drivers.internal import Tenants, role_name

_TENANTS = [UUID(int=number) for number in range(1, 5)]


class NoLogins:
    async def password(self, tenant: UUID) -> SecretStr:
        raise AssertionError("nothing is opened here")

    async def provision(self, tenant: UUID, *, again: bool = False) -> SecretStr:
        raise AssertionError("nothing is opened here")


def shared(connections: int) -> Tenants:
    return Tenants(NoLogins(), SecretStr("postgresql://nowhere/x"), connections)


def test_a_role_is_named_by_its_tenant() -> None:
    tenant = UUID("0f8fad5b-d9cb-469f-a165-70867728950e")
    assert role_name(tenant) == "tenant_0f8fad5bd9cb469fa16570867728950e"


async def test_a_tenant_keeps_its_driver_until_the_place_is_wanted() -> None:
    tenants, first, second, third, _ = shared(4), *_TENANTS
    async with tenants.lease(first) as one:
        pass
    async with tenants.lease(second) as two, tenants.lease(first) as again:
        assert again is one
    async with tenants.lease(third), tenants.lease(first) as kept:  # the longest unused goes
        assert kept is one
    async with tenants.lease(second) as fresh:
        assert fresh is not two


async def test_who_finds_no_place_waits_for_one() -> None:
    tenants, first, second, *_ = shared(2), *_TENANTS
    order = list[str]()

    async def late() -> None:
        async with tenants.lease(second):
            order.append("second")

    async with tenants.lease(first):
        waiting = asyncio.create_task(late())
        for _ in range(5):
            await asyncio.sleep(0)
        async with tenants.lease(first):  # its own place is no other's
            order.append("first")
    await waiting
    assert order == ["first", "second"]


async def test_a_place_comes_back_from_one_that_was_cancelled() -> None:
    tenants, first, second, *_ = shared(2), *_TENANTS

    async def endless() -> None:
        async with tenants.lease(first):
            await asyncio.Event().wait()

    running = asyncio.create_task(endless())
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    async with asyncio.timeout(120), tenants.lease(second):
        pass


async def test_who_waits_too_long_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(internal, "_WAIT_SECONDS", 0.01)
    tenants, first, second, *_ = shared(2), *_TENANTS
    async with tenants.lease(first):
        with pytest.raises(Unavailable):
            async with tenants.lease(second):
                pass
