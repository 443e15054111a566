"""Routes of usage: aggregation, statistics, popular queries, unused products, unmatched tables, raw records."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from libs.common.events import ResourceType
from libs.common.http import Caller, problems
from libs.common.paging import DEFAULT_LIMIT, Cursor, Limit, cut, decode_cursor, encode_cursor
from services.aggregator.api import SpaceSlug
from services.aggregator.refresh import Refresh
from services.aggregator.schemas import (
    Aggregated,
    BiQueryOut,
    DailyOut,
    Page,
    PopularOut,
    ProductUsageOut,
    StatsOut,
    UnmatchedOut,
    UnusedOut,
)
from services.aggregator.service import Usage
from services.aggregator.store.queries import Filter

Days = Annotated[int, Query(ge=1, le=3650, description="Lookback window in days.")]


def usage(service: Usage, refresh: Refresh) -> APIRouter:
    """`/spaces/{slug}/usage` and a product's own usage."""
    router = APIRouter(prefix="/spaces/{slug}", tags=["Usage analytics"])

    @router.post("/usage/aggregate", responses=problems(404))
    async def aggregate(slug: SpaceSlug, caller: Caller) -> Aggregated:
        return Aggregated(products_updated=await refresh.aggregate(caller.require_tenant(), slug))

    @router.get("/usage/unused", responses=problems(404, 422))
    async def unused(slug: SpaceSlug, caller: Caller, days: Days = 30) -> list[UnusedOut]:
        found = await service.unused(caller.require_tenant(), slug, days)
        return [UnusedOut.model_validate(each) for each in found]

    @router.get("/usage", responses=problems(404, 422))
    async def list_stats(
        slug: SpaceSlug, caller: Caller, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
    ) -> Page[StatsOut]:
        after = decode_cursor(cursor, float, UUID)
        behind = (after[0], after[1]) if after else None
        found, last = cut(await service.stats(caller.require_tenant(), slug, behind, limit + 1), limit)
        following = last and encode_cursor(last.popularity_score, last.product_id)
        return Page(items=[StatsOut.model_validate(each) for each in found], next_cursor=following)

    @router.get("/products/{product_id}/usage", responses=problems(404, 422))
    async def product_usage(slug: SpaceSlug, product_id: UUID, caller: Caller) -> ProductUsageOut:
        found = await service.product(caller.require_tenant(), slug, product_id)
        return ProductUsageOut(
            **StatsOut.model_validate(found.stats).model_dump(),
            since=found.since,
            until=found.until,
            daily=[DailyOut.model_validate(day) for day in found.daily],
        )

    @router.get("/usage/popular-queries", responses=problems(404, 422))
    async def popular_queries(
        slug: SpaceSlug, caller: Caller, days: Days = 30, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
    ) -> Page[PopularOut]:
        until, *after = decode_cursor(cursor, datetime.fromisoformat, int, UUID) or [service.now()]
        behind = (after[0], after[1]) if after else None
        rows = await service.popular(caller.require_tenant(), slug, days, until, behind, limit + 1)
        found, last = cut(rows, limit)
        following = last and encode_cursor(until, last.query_count, last.text_key)
        return Page(items=[PopularOut.model_validate(each) for each in found], next_cursor=following)

    @router.get("/usage/unmatched", responses=problems(404, 422))
    async def unmatched(
        slug: SpaceSlug, caller: Caller, days: Days = 30, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
    ) -> Page[UnmatchedOut]:
        until, *after = decode_cursor(cursor, datetime.fromisoformat, int, UUID, UUID) or [service.now()]
        behind = (after[0], after[1], after[2]) if after else None
        rows = await service.unmatched(caller.require_tenant(), slug, days, until, behind, limit + 1)
        found, last = cut(rows, limit)
        following = last and encode_cursor(until, last.query_count, last.connector_id, last.table_key)
        return Page(items=[UnmatchedOut.model_validate(each) for each in found], next_cursor=following)

    return router


def records(service: Usage) -> APIRouter:
    """`/connectors/{id}/queries`: the BiQuery records of one connector."""
    router = APIRouter(prefix="/connectors", tags=["Usage analytics"])

    @router.get("/{connector_id}/queries", responses=problems(404, 422))
    async def list_queries(
        connector_id: UUID,
        caller: Caller,
        resource_type: ResourceType | None = None,
        user: Annotated[str | None, Query(max_length=1024, description="Exactly this `executed_by`.")] = None,
        since: Annotated[AwareDatetime | None, Query(description="RFC 3339, included.")] = None,
        until: Annotated[AwareDatetime | None, Query(description="RFC 3339, included.")] = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> Page[BiQueryOut]:
        after = decode_cursor(cursor, datetime.fromisoformat, UUID)
        behind = (after[0], after[1]) if after else None
        only = Filter(resource_type, user, since, until)
        rows = await service.queries(caller.require_tenant(), connector_id, only, behind, limit + 1)
        found, last = cut(rows, limit)
        following = last and encode_cursor(last.moment, last.id)
        return Page(items=[BiQueryOut.model_validate(each) for each in found], next_cursor=following)

    return router
