"""Routes of log mining."""

from datetime import datetime
from typing import Any, cast
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response

from libs.common.auth import Principal
from libs.common.collecting.schemas import ConnectorCheck
from libs.common.collecting.service import JobActive
from libs.common.errors import BadGateway, Conflict
from libs.common.http import Caller, IdempotencyKey, creation_id, json_response, problems
from libs.common.paging import DEFAULT_LIMIT, Cursor, Limit, cut, decode_cursor, encode_cursor
from libs.common.prefer import Wait, wait_until
from services.log_miner.domain import MiningJob
from services.log_miner.schemas import (
    AlreadyMiningOut,
    MiningFailedOut,
    MiningJobOut,
    MiningJobPage,
    MiningSchedule,
    RowsUpserted,
)
from services.log_miner.service import Miner

_STARTED: dict[int | str, dict[str, Any]] = {
    202: {"model": MiningJobOut, "description": "Not done within the wait; `Location` names the job."},
    409: {"model": AlreadyMiningOut},
    502: {"model": MiningFailedOut},
}


class AlreadyMining(Conflict):
    code = "already_mining"


class JobCancelled(Conflict):
    code = "mining_cancelled"


class MiningFailed(BadGateway):
    code = "mining_failed"


def outcome(job: MiningJob) -> Response:
    """The answer of a request that waited: rows of a job that is done, the job itself while it goes on."""
    location = {"Location": job.location}
    if job.state == "failed":
        raise MiningFailed(job.error or "", headers=location, cause=job.error_code, job=job.location)
    if job.state == "cancelled":
        raise JobCancelled("The job was cancelled.", headers=location, job=job.location)
    if job.is_final:
        return json_response(RowsUpserted(rows_upserted=job.rows_upserted or 0).model_dump(), headers=location)
    return json_response(MiningJobOut.of(job).model_dump(mode="json"), 202, location)


def mining(miner: Miner) -> APIRouter:
    """Starting and following jobs."""
    router = APIRouter(tags=["Query-log mining"])

    @router.post(
        "/connectors/{connector_id}/query-log-mining",
        response_model=RowsUpserted,
        responses=problems(400, 404, 503) | _STARTED,
    )
    async def mine_query_log(
        connector_id: UUID, caller: Caller, request: Request, wait: Wait, key: IdempotencyKey = None
    ) -> Response:
        """Mine the warehouse's query log; waits 120 s (`Prefer: wait=N` or `respond-async`), then answers 202."""
        job = await _start(miner, caller, connector_id, creation_id(caller, request.url.path, key))
        return outcome(await wait_until(lambda: miner.jobs.find(caller, job.id), lambda each: each.is_final, wait))

    @router.get("/mining-jobs/{job_id}", response_model=MiningJobOut, responses=problems(404))
    async def get_mining_job(job_id: UUID, caller: Caller) -> Response:
        return json_response(MiningJobOut.of(await miner.jobs.find(caller, job_id)).model_dump(mode="json"))

    @router.post("/mining-jobs/{job_id}/cancel", response_model=MiningJobOut, responses=problems(404, 409))
    async def cancel_mining_job(job_id: UUID, caller: Caller) -> Response:
        """Stop at the next batch. What was sent stays; the job is `cancelled` once its worker has stopped."""
        return json_response(MiningJobOut.of(await miner.jobs.cancel(caller, job_id)).model_dump(mode="json"))

    @router.get("/connectors/{connector_id}/schedule", response_model=MiningSchedule, responses=problems(400, 404, 503))
    async def get_schedule(connector_id: UUID, caller: Caller) -> Response:
        """The connector's schedule with its next run, and its newest job, whoever started it."""
        planned, job = await miner.schedule(caller, connector_id)
        last = MiningJobOut.of(job) if job else None
        return json_response(MiningSchedule.of(connector_id, planned, last).model_dump(mode="json"))

    @router.get(
        "/connectors/{connector_id}/mining-jobs", response_model=MiningJobPage, responses=problems(400, 404, 422)
    )
    async def list_mining_jobs(
        connector_id: UUID, caller: Caller, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
    ) -> Response:
        values = decode_cursor(cursor, datetime.fromisoformat, UUID)
        before = (values[0], values[1]) if values else None
        found, last = cut(await miner.list_jobs(caller, connector_id, before, limit + 1), limit)
        following = encode_cursor(last.created_at, last.id) if last else None
        page = MiningJobPage(items=[MiningJobOut.of(job) for job in found], next_cursor=following)
        return json_response(page.model_dump(mode="json"))

    return router


def checks(miner: Miner) -> APIRouter:
    """Trying a connector."""
    router = APIRouter(tags=["Query-log mining"])

    @router.post(
        "/connectors/{connector_id}/test", response_model=ConnectorCheck, responses=problems(400, 404, 422, 503)
    )
    async def check_connector(connector_id: UUID, caller: Caller) -> ConnectorCheck:
        """Try what mining needs, step by step; a missing right is named with the GRANT that gives it."""
        return ConnectorCheck.of(await miner.check_connector(caller, connector_id))

    return router


async def _start(miner: Miner, caller: Principal, connector_id: UUID, job_id: UUID) -> MiningJob:
    try:
        return await miner.mine_connector(caller, connector_id, job_id)
    except JobActive as active:
        job = cast(MiningJob, active.job)
        body = MiningJobOut.of(job).model_dump(mode="json")
        headers = {"Location": job.location}
        raise AlreadyMining("The connector is being mined already.", headers=headers, job=body) from None
