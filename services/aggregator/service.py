"""Use cases of requests: spaces, data products, what their usage is."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from libs.common.auth import Principal
from libs.common.clock import Clock
from libs.common.db import Connection, Database
from libs.common.errors import Unprocessable
from libs.common.slugs import slug_of
from services.aggregator.domain import WINDOW, claim_keys, days_between
from services.aggregator.refresh import Refresh
from services.aggregator.store import catalogue, counter_build, locks, queries, reads
from services.aggregator.store.catalogue import Claim, Product, Space
from services.aggregator.store.queries import BiQuery, Filter
from services.aggregator.store.reads import DailyUsage, PopularQuery, ProductStats, UnmatchedTable, UnusedProduct


@dataclass(frozen=True, slots=True)
class SpaceChange:
    """New values; None leaves a field as it is."""

    name: str | None = None
    slug: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class ProductChange(SpaceChange):
    tables: tuple[Claim, ...] | None = None


def _slug(slug: str | None, name: str) -> str:
    made = slug or slug_of(name)
    if not made:
        raise Unprocessable("slug: none can be made from this name; send one.")
    return made


def _described(old: str | None, new: str | None) -> str | None:
    return old if new is None else new or None


def _check_claims(claims: Sequence[Claim]) -> None:
    for claim in claims:
        try:
            claim_keys(claim.name)
        except ValueError as error:
            raise Unprocessable(f"tables: {claim.name!r}: {error}") from None


class Catalogue:
    """Spaces and products. A change of claims waits for ingests under way and rebuilds that product's statistics."""

    def __init__(self, database: Database, clock: Clock, refresh: Refresh) -> None:
        self._database = database
        self._clock = clock
        self._refresh = refresh

    async def create_space(
        self, caller: Principal, space_id: UUID, name: str, slug: str | None, description: str | None
    ) -> Space:
        """The new space, or the one that the same request made before. 409 where the slug is taken."""
        now = self._clock()
        space = Space(space_id, _slug(slug, name), name, description, now, now)
        async with self._database.change(caller, now) as connection:
            return await catalogue.insert_space(connection, caller.require_tenant(), space)

    async def space(self, tenant: UUID, slug: str) -> Space:
        async with self._database.tenant(tenant) as connection:
            return await catalogue.space_by_slug(connection, tenant, slug)

    async def spaces(self, tenant: UUID, after: str | None, limit: int) -> list[Space]:
        async with self._database.tenant(tenant) as connection:
            return await catalogue.list_spaces(connection, tenant, after, limit)

    async def change_space(self, caller: Principal, slug: str, change: SpaceChange) -> Space:
        """The slug stays when only the name changes."""
        tenant, now = caller.require_tenant(), self._clock()
        async with self._database.change(caller, now) as connection:
            old = await catalogue.space_by_slug(connection, tenant, slug)
            new = replace(
                old,
                name=change.name or old.name,
                slug=change.slug or old.slug,
                description=_described(old.description, change.description),
                updated_at=now,
            )
            await catalogue.update_space(connection, tenant, new)
            return new

    async def delete_space(self, caller: Principal, slug: str) -> None:
        """Remove a space and its products; usage records stay."""
        tenant = caller.require_tenant()
        async with self._database.change(caller, self._clock()) as connection:
            await locks.change_claims(connection, tenant)
            space = await catalogue.space_by_slug(connection, tenant, slug)
            await counter_build.forget(connection, tenant, await catalogue.product_ids(connection, tenant, space.id))
            await catalogue.delete_space(connection, tenant, space.id)

    async def create_product(
        self, caller: Principal, space_slug: str, product_id: UUID, change: ProductChange, name: str
    ) -> Product:
        """The new product with its statistics, or the one that the same request made before. 409 for a taken slug."""
        claims = change.tables or ()
        _check_claims(claims)
        tenant, now = caller.require_tenant(), self._clock()
        await self._refresh.slide(tenant)
        async with self._database.change(caller, now) as connection:
            await locks.change_claims(connection, tenant)
            space = await catalogue.space_by_slug(connection, tenant, space_slug)
            product = Product(
                product_id, space.id, _slug(change.slug, name), name, change.description, now, now, tuple(claims)
            )
            if await catalogue.insert_product(connection, tenant, product):
                await self._claim(connection, tenant, product)
            return await catalogue.product(connection, tenant, space.id, product_id)

    async def _claim(self, connection: Connection, tenant: UUID, product: Product) -> None:
        await catalogue.replace_claims(connection, tenant, product.space_id, product.id, product.tables)
        await counter_build.build(connection, tenant, [product.id])
        await self._refresh.compute(connection, tenant, [product.id])

    async def product(self, tenant: UUID, space_slug: str, product_id: UUID) -> Product:
        async with self._database.tenant(tenant) as connection:
            space = await catalogue.space_by_slug(connection, tenant, space_slug)
            return await catalogue.product(connection, tenant, space.id, product_id)

    async def products(self, tenant: UUID, space_slug: str, after: str | None, limit: int) -> list[Product]:
        async with self._database.tenant(tenant) as connection:
            space = await catalogue.space_by_slug(connection, tenant, space_slug)
            return await catalogue.list_products(connection, tenant, space.id, after, limit)

    async def change_product(
        self, caller: Principal, space_slug: str, product_id: UUID, change: ProductChange
    ) -> Product:
        """Changed tables rebuild the product's statistics before this returns."""
        tenant, now = caller.require_tenant(), self._clock()
        _check_claims(change.tables or ())
        await self._refresh.slide(tenant)
        async with self._database.change(caller, now) as connection:
            await locks.change_claims(connection, tenant)
            space = await catalogue.space_by_slug(connection, tenant, space_slug)
            old = await catalogue.product(connection, tenant, space.id, product_id)
            new = replace(
                old,
                name=change.name or old.name,
                slug=change.slug or old.slug,
                description=_described(old.description, change.description),
                tables=old.tables if change.tables is None else change.tables,
                updated_at=now,
            )
            await catalogue.update_product(connection, tenant, new)
            if new.tables != old.tables:
                await self._claim(connection, tenant, new)
            return new

    async def delete_product(self, caller: Principal, space_slug: str, product_id: UUID) -> None:
        tenant = caller.require_tenant()
        async with self._database.change(caller, self._clock()) as connection:
            await locks.change_claims(connection, tenant)
            space = await catalogue.space_by_slug(connection, tenant, space_slug)
            await catalogue.product(connection, tenant, space.id, product_id)
            await counter_build.forget(connection, tenant, [product_id])
            await catalogue.delete_product(connection, tenant, product_id)


@dataclass(frozen=True, slots=True)
class ProductUsage:
    """Stored statistics of a product and its executions by day."""

    stats: ProductStats
    daily: list[DailyUsage]
    since: datetime
    until: datetime


class Usage:
    """What is read of usage. `until` keeps a listing's pages over one and the same window."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def now(self) -> datetime:
        """The end of a window that begins with this request."""
        return self._clock()

    async def stats(self, tenant: UUID, slug: str, after: tuple[float, UUID] | None, limit: int) -> list[ProductStats]:
        async with self._database.tenant(tenant) as connection:
            space = await catalogue.space_by_slug(connection, tenant, slug)
            return await reads.list_stats(connection, tenant, space.id, after, limit)

    async def product(self, tenant: UUID, slug: str, product_id: UUID) -> ProductUsage:
        now = self._clock()
        async with self._database.tenant(tenant) as connection:
            space = await catalogue.space_by_slug(connection, tenant, slug)
            await catalogue.product(connection, tenant, space.id, product_id)
            stats = await reads.stats_of_product(connection, tenant, product_id)
            used = await reads.daily_usage(connection, tenant, product_id, now - WINDOW, now)
        by_day = {each.date: each for each in used}
        days = days_between(now - WINDOW, now)
        return ProductUsage(stats, [by_day.get(day) or DailyUsage(day, 0, 0) for day in days], now - WINDOW, now)

    async def unused(self, tenant: UUID, slug: str, days: int) -> list[UnusedProduct]:
        """Products whose newest counted moment is older than `days` before now; answered from the rows."""
        now = self._clock()
        async with self._database.tenant(tenant) as connection:
            space = await catalogue.space_by_slug(connection, tenant, slug)
            products = await catalogue.product_ids(connection, tenant, space.id)
            since = now - timedelta(days=days)
            return await reads.unused_products(connection, tenant, space.id, products, since, now)

    async def popular(
        self, tenant: UUID, slug: str, days: int, until: datetime, after: tuple[int, UUID] | None, limit: int
    ) -> list[PopularQuery]:
        async with self._database.tenant(tenant) as connection:
            space = await catalogue.space_by_slug(connection, tenant, slug)
            products = await catalogue.product_ids(connection, tenant, space.id)
            since = until - timedelta(days=days)
            return await reads.popular_queries(connection, tenant, products, since, until, after, limit)

    async def unmatched(
        self, tenant: UUID, slug: str, days: int, until: datetime, after: tuple[int, UUID, UUID] | None, limit: int
    ) -> list[UnmatchedTable]:
        """Tables that no product of the whole tenant claims; the space only has to exist."""
        async with self._database.tenant(tenant) as connection:
            await catalogue.space_by_slug(connection, tenant, slug)
            since = until - timedelta(days=days)
            return await reads.unmatched_tables(connection, tenant, since, until, after, limit)

    async def queries(
        self, tenant: UUID, connector: UUID, only: Filter, after: tuple[datetime, UUID] | None, limit: int
    ) -> list[BiQuery]:
        async with self._database.tenant(tenant) as connection:
            return await queries.list_queries(connection, tenant, connector, only, after, limit)
