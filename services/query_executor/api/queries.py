"""Routes of saved queries."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from libs.common.auth import Principal
from libs.common.http import Caller, IdempotencyKey, principal
from libs.common.paging import DEFAULT_LIMIT, Cursor, Limit, cut, decode_cursor, encode_cursor
from services.query_executor.api.common import AppSlug, QuerySlug, done, many, named, new_id, one
from services.query_executor.api.problems import problems
from services.query_executor.api.slashes import ROOT
from services.query_executor.errors import TenantSchemaRequired
from services.query_executor.schemas import (
    Done,
    ExecutionOut,
    ExecutionPage,
    Many,
    NewQuery,
    One,
    QueryChange,
    QueryOut,
)
from services.query_executor.service.queries import NewQuery as New
from services.query_executor.service.queries import Queries

# Of any tenant or none: without one an internal query has no schema, and the API has an error for that.
Anybody = Annotated[Principal, Depends(principal)]


def _distinct(tags: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tags))


def _changes(body: QueryChange) -> dict[str, Any]:
    changes = named(body)
    for name, kind in (("tags", _distinct), ("parameters", tuple)):
        if name in changes:
            changes[name] = kind(changes[name])
    return changes


def queries(service: Queries) -> APIRouter:
    """`/api/apps/{app_slug}/analytics/queries/`: create, list, read, change, delete."""
    router = APIRouter(prefix=ROOT + "/{app_slug}/analytics/queries", tags=["Analytics queries"])

    @router.post("/", status_code=201, response_model=One[QueryOut], responses=problems(400, 404))
    async def create_query(
        app_slug: AppSlug, body: NewQuery, caller: Anybody, request: Request, key: IdempotencyKey = None
    ) -> Response:
        if caller.tenant is None and body.connection_type == "internal":
            raise TenantSchemaRequired
        new = New(
            body.name,
            body.description,
            body.connection_type,
            body.secret_key,
            body.query_text,
            _distinct(body.tags),
            tuple(body.parameters),
        )
        made = await service.create(caller, app_slug, new_id(caller, request, key), new)
        return one(QueryOut.model_validate(made), "Query created successfully", 201)

    @router.get("/", response_model=Many[QueryOut], responses=problems(404))
    async def list_queries(
        app_slug: AppSlug, caller: Caller, tag: Annotated[str | None, Query(max_length=64)] = None
    ) -> Response:
        """Of the app, by name; with `tag`, those that have it."""
        found = await service.all(caller.require_tenant(), app_slug, tag)
        return many([QueryOut.model_validate(each) for each in found])

    @router.get("/{slug}/", response_model=One[QueryOut], responses=problems(404))
    async def get_query(app_slug: AppSlug, slug: QuerySlug, caller: Caller) -> Response:
        return one(QueryOut.model_validate(await service.get(caller.require_tenant(), app_slug, slug)))

    @router.put("/{slug}/", response_model=One[QueryOut], responses=problems(400, 404))
    async def change_query(app_slug: AppSlug, slug: QuerySlug, body: QueryChange, caller: Caller) -> Response:
        changed = await service.change(caller, app_slug, slug, _changes(body))
        return one(QueryOut.model_validate(changed), "Query updated successfully")

    @router.get("/{slug}/executions/", response_model=ExecutionPage, responses=problems(400, 404, 422))
    async def list_executions(
        app_slug: AppSlug, slug: QuerySlug, caller: Caller, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
    ) -> Response:
        """Who ran it when, which version, and how it went."""
        values = decode_cursor(cursor, datetime.fromisoformat, UUID)
        before = (values[0], values[1]) if values else None
        found, total = await service.executions(caller.require_tenant(), app_slug, slug, before, limit + 1)
        page, last = cut(found, limit)
        following = encode_cursor(last.started_at, last.id) if last else None
        return many([ExecutionOut.of(each) for each in page], total=total, next_cursor=following)

    @router.delete("/{slug}/", response_model=Done, responses=problems(404))
    async def delete_query(app_slug: AppSlug, slug: QuerySlug, caller: Caller) -> Response:
        await service.delete(caller, app_slug, slug)
        return done("Query deleted successfully")

    return router
