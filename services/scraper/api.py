"""Routes of BI syncs."""

from datetime import datetime
from typing import Any, cast
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response

from libs.common.auth import Principal
from libs.common.collecting.schemas import ConnectorCheck
from libs.common.collecting.service import JobActive
from libs.common.errors import Conflict
from libs.common.http import Caller, IdempotencyKey, creation_id, json_response, problems
from libs.common.paging import DEFAULT_LIMIT, Cursor, Limit, cut, decode_cursor, encode_cursor
from libs.common.prefer import Wait, wait_until
from services.scraper.domain import SyncJob
from services.scraper.schemas import AlreadySyncingOut, SyncJobOut, SyncJobPage, SyncSchedule
from services.scraper.service import Scraper

_STARTED: dict[int | str, dict[str, Any]] = {
    202: {"model": SyncJobOut, "description": "Not done within the wait; `Location` names the job."},
    409: {"model": AlreadySyncingOut},
}


class AlreadySyncing(Conflict):
    code = "already_syncing"


def shown(job: SyncJob) -> dict[str, Any]:
    """The body of a job."""
    return SyncJobOut.of(job).model_dump(mode="json")


def outcome(job: SyncJob) -> Response:
    """The answer of a request that waited: 200 with a job that is over, failed or not; 202 while it goes on."""
    return json_response(shown(job), 200 if job.is_final else 202, {"Location": job.location})


def syncs(scraper: Scraper) -> APIRouter:
    """Starting and following jobs."""
    router = APIRouter(tags=["BI sync"])

    @router.post(
        "/connectors/{connector_id}/bi-sync",
        response_model=SyncJobOut,
        responses=problems(400, 404, 503) | _STARTED,
    )
    async def execute_bi_sync(
        connector_id: UUID, caller: Caller, request: Request, wait: Wait, key: IdempotencyKey = None
    ) -> Response:
        """Sync a BI tool; waits 120 s (`Prefer: wait=N` or `respond-async`), then answers 202. See `status`."""
        job = await _start(scraper, caller, connector_id, creation_id(caller, request.url.path, key))
        return outcome(await wait_until(lambda: scraper.jobs.find(caller, job.id), lambda each: each.is_final, wait))

    @router.get("/sync-jobs/{job_id}", response_model=SyncJobOut, responses=problems(404))
    async def get_sync_job(job_id: UUID, caller: Caller) -> Response:
        return json_response(shown(await scraper.jobs.find(caller, job_id)))

    @router.post("/sync-jobs/{job_id}/cancel", response_model=SyncJobOut, responses=problems(404, 409))
    async def cancel_sync_job(job_id: UUID, caller: Caller) -> Response:
        """Stop at the next batch. What was sent stays; the job is `cancelled` once its worker has stopped."""
        return json_response(shown(await scraper.jobs.cancel(caller, job_id)))

    @router.get("/connectors/{connector_id}/schedule", response_model=SyncSchedule, responses=problems(400, 404, 503))
    async def get_schedule(connector_id: UUID, caller: Caller) -> Response:
        """The connector's schedule with its next run, and its newest job, whoever started it."""
        planned, job = await scraper.schedule(caller, connector_id)
        last = SyncJobOut.of(job) if job else None
        return json_response(SyncSchedule.of(connector_id, planned, last).model_dump(mode="json"))

    @router.get("/connectors/{connector_id}/sync-jobs", response_model=SyncJobPage, responses=problems(400, 404, 422))
    async def list_sync_jobs(
        connector_id: UUID, caller: Caller, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
    ) -> Response:
        values = decode_cursor(cursor, datetime.fromisoformat, UUID)
        before = (values[0], values[1]) if values else None
        items, last = cut(await scraper.list_jobs(caller, connector_id, before, limit + 1), limit)
        following = encode_cursor(last.created_at, last.id) if last else None
        return json_response({"items": [shown(job) for job in items], "next_cursor": following})

    return router


def checks(scraper: Scraper) -> APIRouter:
    """Trying a connector."""
    router = APIRouter(tags=["BI sync"])

    @router.post(
        "/connectors/{connector_id}/test", response_model=ConnectorCheck, responses=problems(400, 404, 422, 503)
    )
    async def check_connector(connector_id: UUID, caller: Caller) -> ConnectorCheck:
        """Try what a sync needs, step by step; a missing right is named with what gives it."""
        return ConnectorCheck.of(await scraper.check_connector(caller, connector_id))

    return router


async def _start(scraper: Scraper, caller: Principal, connector_id: UUID, job_id: UUID) -> SyncJob:
    try:
        return await scraper.sync_connector(caller, connector_id, job_id)
    except JobActive as active:
        job = cast(SyncJob, active.job)
        headers = {"Location": job.location}
        raise AlreadySyncing("The connector is being synced already.", headers=headers, job=shown(job)) from None
