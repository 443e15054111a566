"""Routes of the reports: any token of a tenant may read them."""

from collections.abc import AsyncIterator, Collection, Iterable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse

from libs.common.http import Caller, problems
from services.reporting.api.analytics_schemas import (
    CatalogOut,
    DoraOut,
    PreviousOut,
    SpanOut,
    UsageOut,
    bands_out,
    catalog_out,
    change_out,
    metrics,
    usage_out,
)
from services.reporting.api.asked import Asked, AskedSpan, asked_scope
from services.reporting.api.explain import explain
from services.reporting.api.scorecards import scorecards
from services.reporting.bands import judged
from services.reporting.csv import catalog_lines, dora_lines, filename, usage_lines
from services.reporting.dora import change
from services.reporting.service.analytics import Analytics, DoraAnswer, DoraQuestion
from services.reporting.store.dora import Scope

PREFIX = "/api/v1/analytics"
ReportName = Literal["catalog", "dora", "usage"]


def analytics(service: Analytics) -> APIRouter:
    """`/api/v1/analytics`: catalog, dora, usage, and each of them as a CSV file."""
    router = APIRouter(prefix=PREFIX, tags=["Platform analytics"])

    @router.get("/catalog")
    async def catalog(caller: Caller) -> CatalogOut:
        return catalog_out(await service.catalog(caller.require_tenant()))

    @router.get("/dora", responses=problems(422), response_model_exclude_unset=True)
    async def dora(caller: Caller, asked: Annotated[Asked, Depends()]) -> DoraOut:
        now = service.now()
        question = asked.question(now)
        found = await service.dora(caller.require_tenant(), question, now)
        return dora_out(found, question, asked.include, service)

    @router.get("/usage", responses=problems(422))
    async def usage(caller: Caller, asked: Annotated[AskedSpan, Depends()]) -> UsageOut:
        return usage_out(await service.usage(caller.require_tenant(), asked.window(service.now())))

    @router.get("/export", responses=problems(422), response_class=StreamingResponse)
    async def export(
        caller: Caller,
        report: Annotated[ReportName, Query()],
        span: Annotated[AskedSpan, Depends()],
        scope: Annotated[Scope, Depends(asked_scope)],
    ) -> StreamingResponse:
        tenant, now = caller.require_tenant(), service.now()
        if report == "catalog":
            return _csv(service, report, catalog_lines(await service.catalog(tenant)))
        if report == "usage":
            return _csv(service, report, usage_lines(await service.usage(tenant, span.window(now))))
        found = await service.dora(tenant, DoraQuestion(span.window(now), scope), now)
        return _csv(service, report, dora_lines(found.report, span.shown_days))

    router.include_router(explain(service))
    router.include_router(scorecards(service))
    return router


def _csv(service: Analytics, report: ReportName, lines: Iterable[str]) -> StreamingResponse:
    name = filename(report, service.now())
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(_streamed(lines), media_type="text/csv; charset=utf-8", headers=headers)


async def _streamed(lines: Iterable[str]) -> AsyncIterator[str]:
    # A plain iterator would be sent to a thread for each line.
    for line in lines:
        yield line


def dora_out(found: DoraAnswer, asked: DoraQuestion, include: Collection[str], service: Analytics) -> DoraOut:
    """The four metrics, and beside them what was asked for."""
    more: dict[str, Any] = {}
    if found.series is not None:
        more["series"] = [
            SpanOut(since=part.window.since, until=part.window.until, **metrics(part, include)) for part in found.series
        ]
    if found.previous is not None:
        before = found.previous
        more["previous"] = PreviousOut(
            since=before.window.since,
            until=before.window.until,
            change=change_out(change(found.report, before)),
            **metrics(before, include),
        )
    if "bands" in include:
        more["performance"] = bands_out(service.edition, judged(found.report, service.edition))
    return DoraOut(period_days=found.report.period_days, **metrics(found.report, include), **more)
