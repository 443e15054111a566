-- migrate:up
-- Secrets are not among them: of an execution's secret there is the key under which its query names it.
GRANT SELECT (tenant_id, id, slug, name, description, created_at, updated_at) ON app TO share_owner;
GRANT SELECT (tenant_id, id, app_id, slug, name, description, tags, version, created_at, updated_at)
    ON analytics_query TO share_owner;
GRANT SELECT (tenant_id, query_id, version, connection_type, secret_key, query_text, parameters, created_at)
    ON analytics_query_version TO share_owner;
GRANT SELECT (tenant_id, id, environment, app_id, query_id, query_version, executed_by, actor_type, state, error_code,
    row_count, truncated, milliseconds, started_at) ON query_execution TO share_owner;

SET LOCAL ROLE share_owner;

CREATE VIEW share.app_v1 WITH (security_barrier) AS
SELECT tenant_id, id, slug, name, description, created_at, updated_at FROM query_executor.app;

CREATE VIEW share.saved_query_v1 WITH (security_barrier) AS
SELECT q.tenant_id, q.id, q.app_id, q.slug, q.name, q.description, q.tags, q.version, v.connection_type, v.secret_key,
    v.query_text, v.parameters, q.created_at, q.updated_at
FROM query_executor.analytics_query q
JOIN query_executor.analytics_query_version v
    ON v.tenant_id = q.tenant_id AND v.query_id = q.id AND v.version = q.version;

CREATE VIEW share.query_execution_v1 WITH (security_barrier) AS
SELECT e.tenant_id, e.id, e.environment, e.app_id, e.query_id, e.query_version, e.executed_by, e.actor_type, e.state,
    e.error_code, e.row_count, e.truncated, e.milliseconds, e.started_at
FROM query_executor.query_execution e;

RESET ROLE;

-- The login of each tenant's own queries. `stamp`: what its schema held when it was written last; null: not yet.
CREATE TABLE tenant_schema (
    tenant_id uuid PRIMARY KEY,
    sealed_password text NOT NULL,
    stamp text
);
SELECT tidemark.protect('tenant_schema');

-- migrate:down
