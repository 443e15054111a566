"""Tenants with many deployments and audit events, at a steady rate up to now, in the order in which they happened."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

from libs.common.db import Connection

COMPONENTS: Final = 500
_COMPONENTS: Final = """
INSERT INTO reporting.component
SELECT $1::uuid, gen_random_uuid(), 'component-' || n, 'service', 'production', 'team-' || n % 20, 'A service.',
       '{}', '{}', 1, $2, $2
FROM generate_series(1, $3::int) AS n"""
_ENVIRONMENTS: Final = """
INSERT INTO reporting.environment
SELECT $1::uuid, gen_random_uuid(), tier, tier, NULL, '{}', 1, $2, $2
FROM unnest(ARRAY['production', 'staging', 'testing']) AS tier"""
_DEPLOYMENTS: Final = """
INSERT INTO reporting.deployment (tenant_id, id, component_id, environment_id, version, status, started_at,
    finished_at, recorded_at, sequence, commit_sha, commit_at, deployed_by, source, is_rework, metadata, updated_at)
SELECT $1::uuid, gen_random_uuid(), c.ids[1 + floor(random() * cardinality(c.ids))::int],
       e.ids[1 + floor(random() * 3)::int], 'v' || n,
       CASE WHEN draw < 0.08 THEN 'FAILED' WHEN draw < 0.12 THEN 'ROLLED_BACK' WHEN draw < 0.15 THEN 'PENDING'
            ELSE 'SUCCEEDED' END,
       at - random() * interval '20 minutes', at, at, 1, md5(n::text), at - random() * interval '3 days',
       'user-' || n % 200, 'ci', random() < 0.05, '{"run": "https://ci.example.org/runs/123456"}', at
FROM (SELECT n, random() AS draw, $2::timestamptz - interval '1 day' * $4::float8 * (1 - (n - random()) / $3) AS at
      FROM generate_series(1, $3::int) AS n) AS made,
     (SELECT array_agg(id) AS ids FROM reporting.component WHERE tenant_id = $1) AS c,
     (SELECT array_agg(id) AS ids FROM reporting.environment WHERE tenant_id = $1) AS e"""
_EVENTS: Final = """
INSERT INTO reporting.audit_event
SELECT $1::uuid, gen_random_uuid(), $2::timestamptz - interval '1 day' * $4::float8 * (1 - (n - random()) / $3),
       'production', action, 'COMPONENT_' || action, 'component', component::text, component, 'user-' || person, 'user',
       'name-' || person,
       CASE WHEN action <> 'CREATE' THEN '{"name": "shop", "owner": "a", "lifecycle": "production"}'::jsonb END,
       CASE WHEN action <> 'DELETE' THEN '{"name": "shop", "owner": "b", "lifecycle": "production"}'::jsonb END, $2
FROM (SELECT n, (ARRAY['CREATE', 'UPDATE', 'UPDATE', 'DELETE'])[1 + floor(random() * 4)::int] AS action,
             c.ids[1 + floor(random() * cardinality(c.ids))::int] AS component, floor(random() * 200)::int AS person
      FROM generate_series(1, $3::int) AS n,
           (SELECT array_agg(id) AS ids FROM reporting.component WHERE tenant_id = $1) AS c) AS made"""
_KEYS: Final = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'reporting' AND tablename = $1"
_TABLES: Final = ("deployment", "audit_event")


@dataclass(frozen=True, slots=True)
class Tenant:
    """So many deployments, and five times as many audit events, in so many days."""

    deployments: int
    days: float
    id: UUID = field(default_factory=uuid4)


async def fill(admin: Connection, now: datetime, *tenants: Tenant) -> None:
    """All rows first, then their indexes and statistics."""
    keys = {table: await admin.fetch(_KEYS, table) for table in _TABLES}
    for table in _TABLES:
        await admin.execute(f"ALTER TABLE reporting.{table} DROP CONSTRAINT {table}_pkey")
        for key in keys[table]:
            await admin.execute(f"DROP INDEX IF EXISTS reporting.{key['indexname']}")
    for tenant in tenants:
        await admin.execute("SELECT setseed(0.23)")
        await admin.execute(_COMPONENTS, tenant.id, now, COMPONENTS)
        await admin.execute(_ENVIRONMENTS, tenant.id, now)
        await admin.execute(_DEPLOYMENTS, tenant.id, now, tenant.deployments, tenant.days)
        await admin.execute(_EVENTS, tenant.id, now, 5 * tenant.deployments, tenant.days)
    for table in _TABLES:
        for key in keys[table]:
            await admin.execute(key["indexdef"])
        await admin.execute(f"ALTER TABLE reporting.{table} ADD PRIMARY KEY USING INDEX {table}_pkey")
    await admin.execute("VACUUM ANALYZE reporting.deployment, reporting.audit_event, reporting.component")
