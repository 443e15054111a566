"""Routes of queries that run by the clock."""

from fastapi import APIRouter
from fastapi.responses import Response

from libs.common.http import Caller
from services.query_executor.api.common import AppSlug, QuerySlug, done, one
from services.query_executor.api.problems import problems
from services.query_executor.api.slashes import ROOT
from services.query_executor.schemas import Done, One, QueryScheduleIn, QueryScheduleOut
from services.query_executor.service.background import Wanted
from services.query_executor.service.schedules import QuerySchedules


def schedules(service: QuerySchedules) -> APIRouter:
    """`/api/apps/{app_slug}/analytics/queries/{slug}/schedule/`."""
    router = APIRouter(prefix=ROOT + "/{app_slug}/analytics/queries", tags=["Analytics queries"])

    @router.put("/{slug}/schedule/", response_model=One[QueryScheduleOut], responses=problems(400, 404))
    async def put_schedule(app_slug: AppSlug, slug: QuerySlug, body: QueryScheduleIn, caller: Caller) -> Response:
        """Run it by the clock, as the caller with the profile of this request."""
        written = await service.put(Wanted(caller, app_slug, slug, body.params), body.cron, body.timezone)
        return one(QueryScheduleOut.of(written), "Schedule saved successfully")

    @router.get("/{slug}/schedule/", response_model=One[QueryScheduleOut], responses=problems(404))
    async def get_schedule(app_slug: AppSlug, slug: QuerySlug, caller: Caller) -> Response:
        """When it runs next, and the execution that it began last."""
        return one(QueryScheduleOut.of(await service.get(caller.require_tenant(), app_slug, slug)))

    @router.delete("/{slug}/schedule/", response_model=Done, responses=problems(404))
    async def delete_schedule(app_slug: AppSlug, slug: QuerySlug, caller: Caller) -> Response:
        await service.delete(caller.require_tenant(), app_slug, slug)
        return done("Schedule deleted successfully")

    return router
