"""The rows behind the figures: the same table expression, its rows instead of their sums."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from libs.common.db import Connection
from services.reporting.dora import Metric
from services.reporting.explain import CANDIDATES, Measured, State
from services.reporting.store.dora import Scope, Statement, measured
from services.reporting.store.states import NEWEST
from services.reporting.windows import Window

MOST_STATES: Final = 100
_MEASURED: Final = ", ".join(name for name in Measured.__slots__)
_STATE: Final = ", ".join(f"s.{name}" for name in State.__slots__)


@dataclass(frozen=True, slots=True)
class Page:
    """Rows before `(moment, id)`, the newest first."""

    limit: int
    before: tuple[datetime, UUID] | None = None


async def rows_behind(
    connection: Connection, tenant: UUID, window: Window, now: datetime, scope: Scope, metric: Metric, page: Page
) -> list[Measured]:
    """A page of the deployments that a figure is about."""
    statement = Statement()
    rows = measured(statement, tenant, window, now, scope)
    statuses, limit = statement.of(CANDIDATES[metric]), statement.of(page.limit)
    behind = ""
    if page.before is not None:
        moment, last = page.before
        behind = f" AND (moment, id) < ({statement.of(moment)}, {statement.of(last)}::uuid)"
    found = await connection.fetch(
        f"""WITH {rows}, page AS (
                SELECT * FROM measured WHERE status = ANY ({statuses}::text[]){behind}
                ORDER BY moment DESC, id DESC LIMIT {limit}
            ), whole AS (
                SELECT p.id, p.component_id, c.name AS component_name, p.environment_id, e.name AS environment_name,
                       d.version, p.status, p.moment, d.recorded_at, p.started_at, p.finished_at, d.commit_sha,
                       p.commit_at, p.is_rework, p.recovered_at, p.recovery, p.lead, p.commit_lead,
                       (SELECT r.id FROM deployment r
                        WHERE r.tenant_id = $1 AND r.component_id = p.component_id
                          AND r.environment_id = p.environment_id AND r.moment = p.recovered_at
                          AND r.status = 'SUCCEEDED' ORDER BY r.id LIMIT 1) AS recovered_by
                FROM page p JOIN deployment d ON d.tenant_id = $1 AND d.id = p.id
                LEFT JOIN component c ON c.tenant_id = $1 AND c.id = p.component_id
                LEFT JOIN environment e ON e.tenant_id = $1 AND e.id = p.environment_id
            )
            SELECT {_MEASURED} FROM whole ORDER BY moment DESC, id DESC""",  # noqa: S608
        *statement.values,
    )
    return [Measured(**dict(row)) for row in found]


async def states_of(connection: Connection, tenant: UUID, deployments: Sequence[UUID]) -> dict[UUID, list[State]]:
    """What was told of deployments, in order; of each the newest hundred."""
    found = await connection.fetch(
        f"""SELECT d.id AS of, s.* FROM unnest($2::uuid[]) AS d (id) CROSS JOIN LATERAL (
                SELECT {_STATE}, row_number() OVER (ORDER BY {NEWEST}) AS place FROM deployment_state s
                WHERE s.tenant_id = $1 AND s.deployment_id = d.id ORDER BY place LIMIT $3) AS s
            ORDER BY s.place DESC""",  # noqa: S608
        tenant,
        deployments,
        MOST_STATES,
    )
    states: dict[UUID, list[State]] = {each: [] for each in deployments}
    for row in found:
        states[row["of"]].append(State(**{name: row[name] for name in State.__slots__}))
    return states
