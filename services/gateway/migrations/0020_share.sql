-- migrate:up
-- Connectors without their settings; the owner of the views has no right on that column.
GRANT SELECT (tenant_id, id, name, type, environment, counts_executions, version, created_at, updated_at, deleted_at)
    ON connector TO share_owner;

SET LOCAL ROLE share_owner;

CREATE VIEW share.connector_v1 WITH (security_barrier) AS
SELECT tenant_id, id, name, type, environment, counts_executions, version, created_at, updated_at
FROM gateway.connector WHERE deleted_at IS NULL;

RESET ROLE;

-- migrate:down
