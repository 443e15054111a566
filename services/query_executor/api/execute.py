"""The route of executions."""

from collections.abc import Mapping
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Header, Request
from fastapi.responses import Response

from libs.common.auth import Principal
from libs.common.errors import TidemarkError
from libs.common.http import IdempotencyKey
from libs.common.prefer import asks_async
from services.query_executor.api.answers import KEY_HEADER, Flow, Pieces, while_there
from services.query_executor.api.background import accepted
from services.query_executor.api.common import AppSlug, QuerySlug, new_id
from services.query_executor.api.lean import Lean
from services.query_executor.api.problems import problems
from services.query_executor.api.queries import Anybody
from services.query_executor.api.slashes import ROOT
from services.query_executor.collect import Collected
from services.query_executor.domain import execution_key
from services.query_executor.download import Download, Send
from services.query_executor.envelope import code_name, executed, failure
from services.query_executor.errors import TenantSchemaRequired
from services.query_executor.formats.accept import JSON, MEDIA_TYPES, WRITERS, chosen
from services.query_executor.schemas import Execute, Executed, JobBody
from services.query_executor.service.background import Background, Wanted
from services.query_executor.service.execution import Executions

Accept = Annotated[str | None, Header(description=f"One of {', '.join(MEDIA_TYPES)}.")]
Prefer = Annotated[str | None, Header(description="`respond-async` (RFC 7240): do not wait for the result.")]
_CLIENT_LEFT: Final = 499  # nobody reads it
_FORMATS: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {media: {} for media in WRITERS}}}


def _answer(key: str, found: Collected) -> Response:
    facts: dict[str, object] = {"execution_key": key, "truncated": found.truncated}
    headers = {KEY_HEADER: key}
    if found.available is not None:
        facts["total_available"] = found.available
    if found.cached_at is not None:
        facts["cached_at"] = found.cached_at
        headers["Age"] = str(found.age)
    return Pieces(executed(found.chunks, total=found.rows, **facts), headers, JSON)


def _flow(
    service: Executions, media: str, caller: Principal, app: str, slug: str, params: Mapping[str, Any], execution: UUID
) -> Response:
    """The end is written once the execution is on record."""
    writer, key = WRITERS[media](), execution_key(execution)

    async def work(send: Send) -> None:
        download = Download(writer, send)
        await service.execute_into(download, caller, app, slug, params, execution)
        await send(writer.end({"execution_key": key, "total": download.rows, "truncated": download.truncated}))

    def last_words(error: TidemarkError) -> bytes:
        return writer.broken(failure(code_name(error.code), error.detail))

    return Flow(work, last_words, {KEY_HEADER: key}, media)


def executions(service: Executions, background: Background) -> APIRouter:
    """`/api/apps/{app_slug}/analytics/queries/{slug}/execute/`."""
    router = APIRouter(prefix=ROOT + "/{app_slug}/analytics/queries", tags=["Analytics queries"], route_class=Lean)

    @router.post(
        "/{slug}/execute/",
        response_model=Executed,
        responses={**problems(400, 404, 406, 422, 502, 503, 504), **_FORMATS, 202: {"model": JobBody}},
    )
    async def execute_query(
        app_slug: AppSlug,
        slug: QuerySlug,
        caller: Anybody,
        request: Request,
        body: Execute | None = None,
        key: IdempotencyKey = None,
        accept: Accept = None,
        prefer: Prefer = None,
    ) -> Response:
        """Run a saved query, read-only, and answer in the format that `Accept` names. A client that leaves stops it.

        With `Prefer: respond-async` the answer is 202 and the address where the execution shows how it stands.
        """
        if caller.tenant is None:
            raise TenantSchemaRequired
        params, execution, media = body.params if body else {}, new_id(caller, request, key), chosen(accept)
        max_age = body.max_age if body else None
        if asks_async(prefer):
            return accepted(
                app_slug, await background.accept(Wanted(caller, app_slug, slug, params, max_age), execution)
            )
        if media != JSON:
            return _flow(service, media, caller, app_slug, slug, params, execution)
        work = service.execute(caller, app_slug, slug, params, execution, max_age=max_age)
        found = await while_there(request.receive, work)
        return Response(status_code=_CLIENT_LEFT) if found is None else _answer(*found)

    return router
