"""Counts and durations of deployments. One statement for all figures; recovery is one window over it, not one look-up
per failure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias
from uuid import UUID

import asyncpg

from libs.common.db import Connection
from services.reporting.domain import Tier
from services.reporting.dora import RANKS, Durations, Totals
from services.reporting.windows import Interval, Window

Detail: TypeAlias = Literal["plain", "full"]

_UNIT: Final[Mapping[Interval, str]] = {"daily": "day", "weekly": "week", "monthly": "month"}
_RANKED: Final = ", ".join(str(rank / 100) for rank in RANKS)


@dataclass(frozen=True, slots=True)
class Scope:
    """Which deployments are meant; an empty limit limits nothing."""

    components: tuple[UUID, ...] = ()
    environments: tuple[UUID, ...] = ()
    tiers: tuple[Tier, ...] = ()
    owners: tuple[str, ...] = ()


EVERYTHING: Final = Scope()


@dataclass(slots=True)
class Statement:
    """The arguments of a statement under construction."""

    values: list[object] = field(default_factory=list)

    def of(self, value: object) -> str:
        """The parameter that stands for a value."""
        self.values.append(value)
        return f"${len(self.values)}"


def _limits(statement: Statement, tenant: str, scope: Scope) -> str:
    limits = ""
    if scope.components:
        limits += f" AND component_id = ANY ({statement.of(scope.components)}::uuid[])"
    if scope.environments:
        limits += f" AND environment_id = ANY ({statement.of(scope.environments)}::uuid[])"
    if scope.tiers:
        tiers = statement.of(scope.tiers)
        limits += f""" AND environment_id IN (
            SELECT id FROM environment WHERE tenant_id = {tenant} AND tier = ANY ({tiers}::text[]))"""  # noqa: S608
    if scope.owners:
        owners = statement.of(scope.owners)
        limits += f""" AND component_id IN (
            SELECT id FROM component WHERE tenant_id = {tenant} AND owner = ANY ({owners}::text[]))"""  # noqa: S608
    return limits


def measured(statement: Statement, tenant: UUID, window: Window, now: datetime, scope: Scope) -> str:
    """The table expression `measured`: every decided deployment of the window with its recovery, lead time and time
    from commit, null where it is no sample. A recovery may lie behind the window, not behind now."""
    whose, since, last = statement.of(tenant), statement.of(window.since), statement.of(window.last)
    limits = _limits(statement, whose, scope)
    later, joined = "", "o.next_success"
    source = "ordered o"
    if window.last < now:
        later = f""", later AS (
            SELECT l.component_id, l.environment_id, (
                SELECT s.moment FROM deployment s
                WHERE s.tenant_id = {whose} AND s.component_id = l.component_id AND s.environment_id = l.environment_id
                  AND s.status = 'SUCCEEDED' AND s.moment > {last} AND s.moment <= {statement.of(now)}
                ORDER BY s.moment LIMIT 1) AS moment
            FROM (SELECT DISTINCT component_id, environment_id FROM counted WHERE status = 'FAILED') AS l)"""  # noqa: S608
        joined = "coalesce(o.next_success, l.moment)"
        source = "ordered o LEFT JOIN later l USING (component_id, environment_id)"
    return f"""counted AS (
            SELECT id, component_id, environment_id, status, moment, started_at, finished_at, commit_at, is_rework
            FROM deployment
            WHERE tenant_id = {whose} AND moment >= {since} AND moment <= {last}
              AND status IN ('SUCCEEDED', 'FAILED', 'ROLLED_BACK'){limits}
        ), ordered AS (
            SELECT *, min(moment) FILTER (WHERE status = 'SUCCEEDED') OVER (
                PARTITION BY component_id, environment_id ORDER BY moment DESC
                GROUPS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS next_success
            FROM counted
        ){later}, measured AS (
            SELECT o.*, {joined} AS recovered_at,
                   CASE WHEN status = 'FAILED' THEN {joined} - o.moment END AS recovery,
                   CASE WHEN status = 'SUCCEEDED' THEN finished_at - started_at END AS lead,
                   CASE WHEN status = 'SUCCEEDED' AND commit_at <= o.moment THEN o.moment - commit_at END AS commit_lead
            FROM {source}
        )"""  # noqa: S608


def _durations(name: str, detail: Detail) -> str:
    # A sum of intervals overflows at 2^31 days, which senders reach whose clock says 1970.
    found = f"count({name}) AS {name}_samples, sum(extract(epoch FROM {name})) AS {name}_seconds"
    if detail == "full":
        found += f", percentile_disc(ARRAY[{_RANKED}]) WITHIN GROUP (ORDER BY {name}) AS {name}_ranked"
    return found


def _figures(detail: Detail) -> str:
    names = ("recovery", "lead", "commit_lead") if detail == "full" else ("recovery", "lead")
    return ", ".join(
        [
            "count(*) FILTER (WHERE status = 'SUCCEEDED') AS succeeded",
            "count(*) FILTER (WHERE status = 'FAILED') AS failed",
            "count(*) FILTER (WHERE status = 'ROLLED_BACK') AS rolled_back",
            "count(*) FILTER (WHERE is_rework) AS rework",
            *(_durations(name, detail) for name in names),
        ]
    )


def _found_durations(row: asyncpg.Record, name: str, detail: Detail) -> Durations:
    ranked = tuple(row[f"{name}_ranked"] or ()) if detail == "full" else None
    return Durations(row[f"{name}_samples"], int((row[f"{name}_seconds"] or 0) * 1_000_000), ranked)


def _totals(row: asyncpg.Record, detail: Detail) -> Totals:
    return Totals(
        row["succeeded"],
        row["failed"],
        row["rolled_back"],
        row["rework"],
        _found_durations(row, "recovery", detail),
        _found_durations(row, "lead", detail),
        _found_durations(row, "commit_lead", detail) if detail == "full" else Durations(),
    )


async def totals(
    connection: Connection, tenant: UUID, window: Window, now: datetime, scope: Scope, detail: Detail = "plain"
) -> Totals:
    """Of a whole window."""
    statement = Statement()
    rows = measured(statement, tenant, window, now, scope)
    row = await connection.fetchrow(f"WITH {rows} SELECT {_figures(detail)} FROM measured", *statement.values)  # noqa: S608
    assert row is not None
    return _totals(row, detail)


async def totals_by_interval(
    connection: Connection,
    tenant: UUID,
    window: Window,
    now: datetime,
    scope: Scope,
    interval: Interval,
    detail: Detail = "plain",
) -> tuple[Totals, dict[datetime, Totals]]:
    """Of a whole window, and by the start of each UTC day, week or month in which a deployment was decided; both of one
    moment, so that they add up."""
    statement = Statement()
    rows = measured(statement, tenant, window, now, scope)
    # The end of the window belongs to the interval that ends there.
    end = statement.of(window.until - timedelta(microseconds=1))
    start = f"date_trunc('{_UNIT[interval]}', least(moment, {end}::timestamptz), 'UTC')"
    found = await connection.fetch(
        f"""WITH {rows} SELECT NULL AS start, {_figures(detail)} FROM measured
            UNION ALL SELECT {start}, {_figures(detail)} FROM measured GROUP BY 1""",  # noqa: S608
        *statement.values,
    )
    by_start = {row["start"]: _totals(row, detail) for row in found}
    return by_start.pop(None), by_start


async def totals_by_component(
    connection: Connection, tenant: UUID, window: Window, now: datetime, scope: Scope
) -> dict[UUID, Totals]:
    """By component, those without a decided deployment left out."""
    statement = Statement()
    rows = measured(statement, tenant, window, now, scope)
    found = await connection.fetch(
        f"WITH {rows} SELECT component_id, {_figures('plain')} FROM measured GROUP BY component_id",  # noqa: S608
        *statement.values,
    )
    return {row["component_id"]: _totals(row, "plain") for row in found}


@dataclass(frozen=True, slots=True)
class PlaceTotals:
    """Of one component in one environment, both of which are there, by their names."""

    component: str
    environment: str
    totals: Totals


async def totals_by_place(
    connection: Connection, tenant: UUID, window: Window, now: datetime, most: int
) -> tuple[list[PlaceTotals], int]:
    """The places with most decided deployments; how many there are in all."""
    statement = Statement()
    rows = measured(statement, tenant, window, now, EVERYTHING)
    limit = statement.of(most)
    found = await connection.fetch(
        f"""WITH {rows}, placed AS (
            SELECT component_id, environment_id, {_figures("plain")}, count(*) AS decided
            FROM measured GROUP BY component_id, environment_id)
            SELECT p.*, c.name AS component, e.name AS environment, count(*) OVER () AS places FROM placed p
            JOIN component c ON c.tenant_id = $1 AND c.id = p.component_id AND c.deleted_at IS NULL
            JOIN environment e ON e.tenant_id = $1 AND e.id = p.environment_id AND e.deleted_at IS NULL
            ORDER BY p.decided DESC, c.name, e.name LIMIT {limit}""",  # noqa: S608
        *statement.values,
    )
    places = [PlaceTotals(row["component"], row["environment"], _totals(row, "plain")) for row in found]
    return places, found[0]["places"] if found else 0


async def tenants(connection: Connection) -> list[UUID]:
    """Those with components; for workers, which see all."""
    rows = await connection.fetch("SELECT DISTINCT tenant_id FROM component WHERE deleted_at IS NULL ORDER BY 1")
    return [row["tenant_id"] for row in rows]
