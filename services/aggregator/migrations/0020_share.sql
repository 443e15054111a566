-- migrate:up
-- What others may read of this service, always through a view that names one tenant (docs/internal-queries.md).
-- A view's columns are never taken away; what would, is a next version beside it.
GRANT SELECT (tenant_id, id, slug, name, description, created_at, updated_at) ON space TO share_owner;
GRANT SELECT (tenant_id, id, space_id, slug, name, description, created_at, updated_at) ON data_product TO share_owner;
GRANT SELECT (tenant_id, product_id, position, name, connector_id) ON product_table TO share_owner;
GRANT SELECT (tenant_id, product_id, space_id, query_count_30d, execution_count_30d, reference_count, unique_users_30d,
    last_queried_at, popularity_score, top_columns, updated_at) ON product_usage_stats TO share_owner;
GRANT SELECT (tenant_id, id, dialect, sql_text) ON sql_pattern TO share_owner;
GRANT SELECT (tenant_id, id, connector_id, environment, resource_type, resource_id, title, pattern_id, executed_by,
    executed_at, execution_count, dashboard_id, dashboard_title, dashboard_url) ON query_log TO share_owner;
GRANT SELECT (tenant_id, id, connector_id, environment, resource_type, resource_id, title, pattern_id, executed_by,
    dashboard_id, dashboard_title, dashboard_url, seen_at, retired_at) ON bi_reference TO share_owner;

SET LOCAL ROLE share_owner;

CREATE VIEW share.space_v1 WITH (security_barrier) AS
SELECT tenant_id, id, slug, name, description, created_at, updated_at FROM aggregator.space;

CREATE VIEW share.data_product_v1 WITH (security_barrier) AS
SELECT tenant_id, id, space_id, slug, name, description, created_at, updated_at FROM aggregator.data_product;

CREATE VIEW share.data_product_table_v1 WITH (security_barrier) AS
SELECT tenant_id, product_id, position, name, connector_id FROM aggregator.product_table;

CREATE VIEW share.product_usage_v1 WITH (security_barrier) AS
SELECT tenant_id, product_id, space_id, query_count_30d, execution_count_30d, reference_count, unique_users_30d,
    last_queried_at, popularity_score, top_columns, updated_at
FROM aggregator.product_usage_stats;

CREATE VIEW share.query_log_v1 WITH (security_barrier) AS
SELECT q.tenant_id, q.id, q.connector_id, q.environment, q.resource_type, q.resource_id, q.title, p.dialect, p.sql_text,
    q.executed_by, q.executed_at, q.execution_count, q.dashboard_id, q.dashboard_title, q.dashboard_url
FROM aggregator.query_log q
LEFT JOIN aggregator.sql_pattern p ON p.tenant_id = q.tenant_id AND p.id = q.pattern_id;

CREATE VIEW share.bi_reference_v1 WITH (security_barrier) AS
SELECT r.tenant_id, r.id, r.connector_id, r.environment, r.resource_type, r.resource_id, r.title, p.dialect, p.sql_text,
    r.executed_by, r.dashboard_id, r.dashboard_title, r.dashboard_url, r.seen_at
FROM aggregator.bi_reference r
LEFT JOIN aggregator.sql_pattern p ON p.tenant_id = r.tenant_id AND p.id = r.pattern_id
WHERE r.retired_at IS NULL;

RESET ROLE;

-- migrate:down
