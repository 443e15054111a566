"""The route of executions."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import Response

from libs.common.http import IdempotencyKey
from services.query_executor.api.common import AppSlug, QuerySlug, new_id
from services.query_executor.api.problems import problems
from services.query_executor.api.queries import Anybody
from services.query_executor.api.slashes import ROOT
from services.query_executor.collect import Collected
from services.query_executor.envelope import executed
from services.query_executor.errors import TenantSchemaRequired
from services.query_executor.schemas import Execute, Executed
from services.query_executor.service.execution import Executions

Result = TypeVar("Result")
_CLIENT_LEFT: Final = 499  # nobody reads it


async def while_there(request: Request, work: Coroutine[Any, Any, Result]) -> Result | None:
    """Do something as long as the client waits for it; None when it leaves, and then the statement has been stopped."""
    task = asyncio.create_task(work)
    watch = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        return await task if task.done() else None
    finally:
        task.cancel()
        watch.cancel()
        await asyncio.gather(task, watch, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _body(key: str, found: Collected) -> bytes:
    facts: dict[str, object] = {"execution_key": key, "truncated": found.truncated}
    if found.available is not None:
        facts["total_available"] = found.available
    return executed(found.chunks, total=found.rows, **facts)


def executions(service: Executions) -> APIRouter:
    """`/api/apps/{app_slug}/analytics/queries/{slug}/execute/`."""
    router = APIRouter(prefix=ROOT + "/{app_slug}/analytics/queries", tags=["Analytics queries"])

    @router.post("/{slug}/execute/", response_model=Executed, responses=problems(400, 404, 422, 502, 503, 504))
    async def execute_query(
        app_slug: AppSlug,
        slug: QuerySlug,
        caller: Anybody,
        request: Request,
        body: Execute | None = None,
        key: IdempotencyKey = None,
    ) -> Response:
        """Run a saved query, read-only. A client that leaves stops it."""
        if caller.tenant is None:
            raise TenantSchemaRequired
        params, execution = (body.params if body else {}), new_id(caller, request, key)
        work = service.execute(caller, app_slug, slug, params, execution)
        found = await while_there(request, work)
        if found is None:
            return Response(status_code=_CLIENT_LEFT)
        return Response(_body(*found), media_type="application/json")

    return router
