"""Routes of executions that nobody waits for."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Path
from fastapi.responses import Response

from libs.common.errors import NotFound
from libs.common.http import Caller, IdempotencyKey, json_response
from libs.common.paging import DEFAULT_LIMIT, Cursor, Limit, decode_cursor, encode_cursor
from services.query_executor.api.common import AppSlug
from services.query_executor.api.problems import problems
from services.query_executor.api.slashes import ROOT
from services.query_executor.domain import EXECUTION_PREFIX, execution_key
from services.query_executor.envelope import RETRIEVED, executed, success
from services.query_executor.schemas import JobBody, JobOut, ResultPage
from services.query_executor.service.background import Background
from services.query_executor.store.jobs import ExecutionJob
from services.query_executor.store.results import Result

ACCEPTED: Final = "Query execution accepted"
ExecutionKey = Annotated[str, Path(max_length=64, description="The execution's key.")]


def _id(key: str) -> UUID:
    """404 for what is no key of ours."""
    try:
        if key.startswith(EXECUTION_PREFIX):
            return UUID(hex=key.removeprefix(EXECUTION_PREFIX))
    except ValueError:
        pass
    raise NotFound("Execution not found")


def location_of(app_slug: str, execution: UUID) -> str:
    """Where an execution shows how it stands."""
    return f"{ROOT}/{app_slug}/analytics/executions/{execution_key(execution)}/"


def _shown(job: ExecutionJob, result: Result | None, message: str) -> dict[str, object]:
    return success(message, data=JobOut.of(job, result).model_dump(mode="json"), execution_key=execution_key(job.id))


def accepted(app_slug: str, job: ExecutionJob) -> Response:
    """202 with the address of what was begun."""
    return json_response(_shown(job, None, ACCEPTED), 202, {"Location": location_of(app_slug, job.id)})


def _page(result: Result, rows: bytes, key: str, following: str | None) -> bytes:
    facts: dict[str, object] = {"execution_key": key, "truncated": result.truncated}
    if result.available is not None:
        facts["total_available"] = result.available
    return b"".join(executed([rows], total=result.row_count, **facts, next_cursor=following))


def kept_executions(service: Background) -> APIRouter:
    """`/api/apps/{app_slug}/analytics/executions/{execution_key}/`: state, result, cancel."""
    router = APIRouter(prefix=ROOT + "/{app_slug}/analytics/executions", tags=["Analytics executions"])

    @router.get("/{key}/", response_model=JobBody, responses=problems(404))
    async def get_execution(app_slug: AppSlug, key: ExecutionKey, caller: Caller) -> Response:
        """How an execution stands that was begun with `Prefer: respond-async`."""
        job, result = await service.get(caller, app_slug, _id(key))
        return json_response(_shown(job, result, RETRIEVED))

    @router.get("/{key}/result/", response_model=ResultPage, responses=problems(403, 404, 409, 422))
    async def get_execution_result(
        app_slug: AppSlug, key: ExecutionKey, caller: Caller, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
    ) -> Response:
        """Its rows, page by page, for whoever started it."""
        position = decode_cursor(cursor, int)
        first = max(0, position[0]) if position else 0
        result, rows = await service.page(caller, app_slug, _id(key), first, limit)
        end = first + limit
        following = encode_cursor(end) if end < result.row_count else None
        return Response(_page(result, rows, execution_key(_id(key)), following), media_type="application/json")

    @router.post("/{key}/cancel/", response_model=JobBody, responses=problems(404))
    async def cancel_execution(
        app_slug: AppSlug, key: ExecutionKey, caller: Caller, _key: IdempotencyKey = None
    ) -> Response:
        """Stop it on its server too; one that is over stays as it is."""
        job = await service.cancel(caller, app_slug, _id(key))
        return json_response(_shown(job, None, "Query execution is being cancelled"))

    return router
