"""Whatever is deployed and done: the reports are those of the naive computation, and the rows behind them add up."""

import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from services.reporting.domain import STATUSES
from services.reporting.dora import METRICS
from tests.integration.reporting_oracle import DECIDED, Oracle, micros, percent, shown, usage
from tests.integration.reporting_reads import NOON, Component, Deployment, Environment, Event, Reads, reads
from tests.support.platform import Platform

EXAMPLES = int(os.environ.get("ORACLE_EXAMPLES", "40"))
MICRO = timedelta(microseconds=1)
HOUR = timedelta(hours=1)
SMALL = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
ALL = [("include", name) for name in ("percentiles", "rework", "commitToProduction")]

# The ends of the windows and a microsecond to either side.
AGO = [timedelta(0), -MICRO, MICRO, HOUR, 2 * HOUR, 3 * HOUR, timedelta(days=1), timedelta(days=5, minutes=3)]
AGO += [timedelta(days=days) + step for days in (7, 14, 30) for step in (timedelta(0), MICRO, -MICRO)]
SPANS = [timedelta(0), MICRO, timedelta(minutes=3), timedelta(minutes=15), HOUR, timedelta(days=3)]

COMPONENTS = (
    Component("a", owner="red"), Component("b", owner="blue"), Component("c", owner=None), Component("d", deleted=True)
)  # fmt: skip
ENVIRONMENTS = (Environment("live"), Environment("live-2"), Environment("trial", "staging"))


# Mostly in one place, or failures and successes would rarely meet.
AT_COMPONENTS = [COMPONENTS[0]] * 5 + list(COMPONENTS)
AT_ENVIRONMENTS = [ENVIRONMENTS[0]] * 4 + list(ENVIRONMENTS)


@st.composite
def deployed(draw: st.DrawFn, moments: Sequence[timedelta] = AGO) -> Deployment:
    recorded = NOON - draw(st.sampled_from(moments))
    finished = recorded if draw(st.booleans()) else None
    started = (finished or recorded) - draw(st.sampled_from(SPANS)) if draw(st.booleans()) else None
    moment = finished or started or recorded
    committed = draw(st.sampled_from([None, *SPANS, -MICRO]))
    return Deployment(
        draw(st.sampled_from(AT_COMPONENTS)).id,
        draw(st.sampled_from(AT_ENVIRONMENTS)).id,
        draw(st.sampled_from([*STATUSES, *["FAILED", "SUCCEEDED"] * 3])),
        recorded,
        started,
        finished,
        None if committed is None else moment - committed,
        draw(st.booleans()),
        id=UUID(int=draw(st.integers(1, 2**128 - 1))),
    )


# Few moments at a time, so that many are equal.
DEPLOYMENTS = st.lists(st.sampled_from(AGO), min_size=2, max_size=5).flatmap(
    lambda moments: st.lists(deployed(moments), max_size=25, unique_by=lambda each: each.id)
)


@dataclass(frozen=True)
class Asked:
    """A window and a scope, as parameters and as a rule."""

    since: datetime
    until: datetime
    span: tuple[tuple[str, object], ...]
    components: tuple[Component, ...] = ()
    environments: tuple[Environment, ...] = ()
    tiers: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()

    @property
    def days(self) -> Fraction:
        return Fraction(micros(self.until - self.since), 86_400_000_000)

    @property
    def parameters(self) -> list[tuple[str, object]]:
        scope = [("componentId", each.id) for each in self.components]
        scope += [("environmentId", each.id) for each in self.environments]
        return [
            *self.span,
            *scope,
            *(("environmentTier", each) for each in self.tiers),
            *(("owner", each) for each in self.owners),
        ]

    def inside(self, deployments: Sequence[Deployment]) -> list[Deployment]:
        return [each for each in deployments if self.since <= each.moment <= self.until and self._in_scope(each)]

    def _in_scope(self, each: Deployment) -> bool:
        component = next(one for one in COMPONENTS if one.id == each.component)
        environment = next(one for one in ENVIRONMENTS if one.id == each.environment)
        return (
            (not self.components or component in self.components)
            and (not self.environments or environment in self.environments)
            and (not self.tiers or environment.tier in self.tiers)
            and (not self.owners or component.owner in self.owners)
        )


@st.composite
def asked(draw: st.DrawFn) -> Asked:
    def some(values: Sequence[Any]) -> tuple[Any, ...]:
        if draw(st.integers(0, 3)):
            return ()
        return tuple(draw(st.lists(st.sampled_from(values), max_size=2, unique=True)))

    if draw(st.booleans()):
        days = draw(st.sampled_from([1, 7, 30]))
        since, until = NOON - timedelta(days=days), NOON
        span: list[tuple[str, object]] = [("days", days)]
    else:
        until = NOON - draw(st.sampled_from([timedelta(0), HOUR, timedelta(days=7), timedelta(days=1, seconds=43_200)]))
        since = until - draw(st.sampled_from([HOUR, timedelta(days=7), timedelta(days=30, seconds=7)]))
        zone = timezone(timedelta(hours=draw(st.sampled_from([0, 2, -11]))))
        span = [("from", since.astimezone(zone).isoformat()), ("to", until.astimezone(zone).isoformat())]
    return Asked(
        since, until, tuple(span), some(COMPONENTS), some(ENVIRONMENTS), some(["production", "staging"]),
        some(["red", "blue", "nobody"]),
    )  # fmt: skip


@pytest.fixture(scope="module")
async def running(platform: Platform) -> AsyncIterator[Reads]:
    async with reads(platform) as one:
        yield one


async def _tenant_with(running: Reads, deployments: Sequence[Deployment]) -> UUID:
    """A tenant of its own; another one has the same deployments and more."""
    tenant, other = uuid4(), uuid4()
    for each in (tenant, other):
        await running.add_components(each, *COMPONENTS)
        await running.add_environments(each, *ENVIRONMENTS)
        await running.add_deployments(each, deployments)
    more = [Deployment(c.id, e.id, "SUCCEEDED", NOON) for c in COMPONENTS for e in ENVIRONMENTS]
    await running.add_deployments(other, more)
    return tenant


def figures(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: answer[name] for name in METRICS}


@SMALL
@given(deployments=DEPLOYMENTS, question=asked())
async def test_dora_is_that_of_the_naive_computation(
    running: Reads, deployments: list[Deployment], question: Asked
) -> None:
    tenant, oracle = await _tenant_with(running, deployments), Oracle(deployments, NOON)
    found = await running.get(tenant, "dora", *question.parameters, *ALL, ("include", "previous"))
    inside = question.inside(deployments)
    event(f"recoveries {len(oracle.recoveries(inside))}")
    assert figures(found) == oracle.dora(inside, question.days)
    length = question.until - question.since
    before = Asked(question.since - length, question.since - MICRO, (), question.components, question.environments,
                   question.tiers, question.owners)  # fmt: skip
    assert figures(found["previous"]) == oracle.dora(before.inside(deployments), question.days)
    plain = await running.get(tenant, "dora", *question.parameters)
    for name in METRICS[:4]:
        assert plain[name] == {field: found[name][field] for field in plain[name]}
    assert set(plain) == {"periodDays", *METRICS[:4]}
    file = await running.call(tenant, "export", *question.parameters, report="dora")
    assert [line.split(",")[1] for line in file.text.splitlines()[1:]] == [str(value) for value in headline(plain)]


def headline(report: dict[str, Any]) -> list[float]:
    """The four figures, as JSON told them."""
    names = ("deploymentsPerDay", "rate", "avgHours", "avgHours")
    return [report[metric][name] for metric, name in zip(METRICS[:4], names, strict=True)]


def starts(question: Asked, interval: str) -> list[datetime]:
    """The beginnings of the intervals that a window touches, day by day."""
    found: list[datetime] = []
    day = question.since.replace(hour=0, minute=0, second=0, microsecond=0)
    while day < question.until:
        begins = {"daily": True, "weekly": day.weekday() == 0, "monthly": day.day == 1}[interval]
        if begins or not found:
            found.append(day)
        day += timedelta(days=1)
    return found


@SMALL
@given(deployments=DEPLOYMENTS, question=asked(), interval=st.sampled_from(["daily", "weekly", "monthly"]))
async def test_a_series_is_the_report_of_each_interval(
    running: Reads, deployments: list[Deployment], question: Asked, interval: str
) -> None:
    tenant, oracle = await _tenant_with(running, deployments), Oracle(deployments, NOON)
    found = await running.get(tenant, "dora", *question.parameters, *ALL, ("interval", interval))
    edges = [max(each, question.since) for each in starts(question, interval)]
    ends = [*edges[1:], question.until]
    assert [each["from"] for each in found["series"]] == [told(each) for each in edges]
    assert [each["to"] for each in found["series"]] == [told(each) for each in ends]
    inside = question.inside(deployments)
    assert figures(found) == oracle.dora(inside, question.days)
    for part, since, until in zip(found["series"], edges, ends, strict=True):
        last = until == question.until
        of_part = [each for each in inside if since <= each.moment and (each.moment < until or last)]
        assert figures(part) == oracle.dora(of_part, Fraction(micros(until - since), 86_400_000_000))


def told(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def aggregate(metric: str, rows: list[dict[str, Any]], days: Fraction) -> dict[str, Any]:
    """A figure from the rows that `explain` shows."""
    counted = [row for row in rows if row["counted"]]
    part = sum(bool(row["inNumerator"]) for row in counted)
    if metric == "deploymentFrequency":
        per_day = shown(len(counted) / days, 2)
        return {"deploymentsPerDay": per_day, "total": len(counted), "periodDays": shown(days, 2)}
    if metric in ("changeFailureRate", "reworkRate"):
        name = "failed" if metric == "changeFailureRate" else "rework"
        return {"rate": percent(part, len(counted)), name: part, "total": len(counted)}
    seconds = sum((Fraction(str(row["durationSeconds"])) for row in counted), Fraction(0))
    mean = shown(seconds / 3600 / len(counted), 1) if counted else 0
    return {"avgHours": mean, "samples": len(counted)}


@SMALL
@given(deployments=DEPLOYMENTS, question=asked(), metric=st.sampled_from(METRICS), limit=st.sampled_from([1, 3, 500]))
async def test_the_rows_behind_a_figure_add_up_to_it(
    running: Reads, deployments: list[Deployment], question: Asked, metric: str, limit: int
) -> None:
    tenant = await _tenant_with(running, deployments)
    report = await running.get(
        tenant, "dora", *question.parameters, ("include", "rework"), ("include", "commitToProduction")
    )
    rows: list[dict[str, Any]] = []
    cursor: list[tuple[str, object]] = []
    while True:
        page = await running.get(tenant, "dora/explain", *question.parameters, *cursor, metric=metric, limit=limit)
        assert page["figure"] == report[metric]
        assert len(page["items"]) <= limit
        rows += page["items"]
        if page["nextCursor"] is None:
            break
        cursor = [("cursor", page["nextCursor"])]
    assert aggregate(metric, rows, question.days) == report[metric]
    known = {str(each.id): each for each in deployments}
    order = [(known[row["deploymentId"]].moment, UUID(row["deploymentId"])) for row in rows]
    assert order == sorted(order, reverse=True)
    assert len(set(order)) == len(order)
    assert {known[row["deploymentId"]].status for row in rows} <= set(DECIDED)
    for row in rows:
        assert (row["missing"] is None) == row["counted"]
        if row["recoveredBy"] is not None:
            assert told(known[row["recoveredBy"]].moment) == row["recoveredAt"]
            assert known[row["recoveredBy"]].status == "SUCCEEDED"


@st.composite
def done(draw: st.DrawFn) -> Event:
    actor = draw(st.sampled_from([None, "u1", "u2", "u3", *(f"many{n}" for n in range(12))]))
    return Event(
        draw(st.sampled_from(["CREATE", "UPDATE", "DELETE", "LOGIN", "APPROVE"])),
        NOON - draw(st.sampled_from(AGO)),
        draw(st.sampled_from([None, UUID(int=7), *(each.id for each in COMPONENTS)])),
        actor,
        draw(st.sampled_from([None, "zoe", "Ann", "ann"])) if actor else None,
        id=UUID(int=draw(st.integers(1, 2**128 - 1))),
    )


@SMALL
@given(
    events=st.lists(done(), max_size=30, unique_by=lambda each: each.id),
    days=st.sampled_from([1, 7, 30]),
)
async def test_usage_is_that_of_the_naive_computation(running: Reads, events: list[Event], days: int) -> None:
    tenant, other = uuid4(), uuid4()
    for each in (tenant, other):
        await running.add_components(each, *COMPONENTS)
        await running.add_events(each, events)
    await running.add_events(other, [Event(actor="u1")])
    inside = [each for each in events if NOON - timedelta(days=days) <= each.occurred_at <= NOON]
    assert await running.get(tenant, "usage", days=days) == {"periodDays": days, **usage(inside, COMPONENTS)}
