"""The route that shows the deployments behind a figure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import Field
from pydantic.alias_generators import to_snake

from libs.common.errors import Unprocessable
from libs.common.http import Caller, problems
from libs.common.paging import DEFAULT_LIMIT, Cursor, Limit, cut, decode_cursor, encode_cursor
from services.reporting.api.analytics_schemas import Answer, FailureOut, FrequencyOut, HoursOut, ReworkOut, metrics
from services.reporting.api.asked import AskedSpan, asked_scope
from services.reporting.domain import Status
from services.reporting.dora import Metric
from services.reporting.explain import Measured, Part, State, part
from services.reporting.figures import Number, seconds
from services.reporting.service.analytics import Analytics, DoraQuestion, Explanation
from services.reporting.store.dora import Scope
from services.reporting.store.explain import Page
from services.reporting.windows import Window


class StateOut(Answer):
    status: Status
    recorded_at: datetime
    sequence: int
    started_at: datetime | None
    finished_at: datetime | None
    version: str | None
    source: str
    received_at: datetime


class RowOut(Answer):
    """A deployment that a figure is about. `counted`: in the total or among the samples; `in_numerator`: for rates;
    `duration_seconds`: what the mean is taken of; `missing`: what it would need to be a sample."""

    deployment_id: UUID
    component_id: UUID
    component_name: str | None
    environment_id: UUID
    environment_name: str | None
    version: str | None
    status: Status
    moment: datetime
    recorded_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    commit_sha: str | None
    commit_at: datetime | None
    is_rework: bool
    recovered_at: datetime | None
    recovered_by: UUID | None
    counted: bool
    in_numerator: bool | None
    duration_seconds: Number | None
    missing: str | None
    states: list[StateOut]


class ExplanationOut(Answer):
    """`figure` is the object that `/dora` shows under the metric's name."""

    metric: Metric
    since: datetime = Field(alias="from")
    until: datetime = Field(alias="to")
    figure: FrequencyOut | FailureOut | HoursOut | ReworkOut
    items: list[RowOut]
    next_cursor: str | None


def explain(service: Analytics) -> APIRouter:
    """`/dora/explain`: pages of one and the same window, newest first."""
    router = APIRouter()

    @router.get("/dora/explain", responses=problems(422), response_model_exclude_unset=True)
    async def explained(
        caller: Caller,
        metric: Metric,
        span: Annotated[AskedSpan, Depends()],
        scope: Annotated[Scope, Depends(asked_scope)],
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> ExplanationOut:
        now, window, before = _position(cursor, span, service.now())
        asked = DoraQuestion(window, scope, "full" if metric == "commitToProduction" else "plain")
        found = await service.explain(caller.require_tenant(), metric, asked, now, Page(limit + 1, before))
        rows, last = cut(found.rows, limit)
        following = encode_cursor(now, window.since, window.until, last.moment, last.id) if last else None
        return _explanation(metric, found, rows, following)

    return router


def _position(
    cursor: str | None, span: AskedSpan, now: datetime
) -> tuple[datetime, Window, tuple[datetime, UUID] | None]:
    """When the listing began, its window, and behind which row it goes on."""
    known = decode_cursor(cursor, _time, _time, _time, _time, UUID)
    if known is None:
        return now, span.window(now), None
    began, since, until, moment, last = known
    if since >= until:
        raise Unprocessable("cursor: is none of ours; take `nextCursor` of the page before.")
    return began, Window(since, until), (moment, last)


def _time(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("without an offset")
    return moment


def _explanation(metric: Metric, found: Explanation, rows: Sequence[Measured], following: str | None) -> ExplanationOut:
    figures = metrics(found.report, ("rework", "commitToProduction"))
    return ExplanationOut(
        metric=metric,
        since=found.report.window.since,
        until=found.report.window.until,
        figure=figures[to_snake(metric)],
        items=[_row_out(row, part(metric, row), found.states[row.id]) for row in rows],
        next_cursor=following,
    )


def _row_out(row: Measured, counts: Part, states: Sequence[State]) -> RowOut:
    own = {name: getattr(row, name) for name in RowOut.model_fields if name in Measured.__slots__}
    return RowOut(
        deployment_id=row.id,
        counted=counts.counted,
        in_numerator=counts.in_numerator,
        duration_seconds=None if counts.duration is None else seconds(counts.duration),
        missing=counts.missing,
        states=[StateOut.model_validate(state) for state in states],
        **own,
    )
