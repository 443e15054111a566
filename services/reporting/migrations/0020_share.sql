-- migrate:up
-- What others may read of this service, always through a view that names one tenant (docs/internal-queries.md).
-- A view's columns are never taken away; what would, is a next version beside it.
GRANT SELECT (tenant_id, id, name, kind, lifecycle, owner, description, metadata, created_at, updated_at, deleted_at)
    ON component TO share_owner;
GRANT SELECT (tenant_id, id, name, tier, description, created_at, updated_at, deleted_at) ON environment TO share_owner;
GRANT SELECT (tenant_id, id, component_id, environment_id, version, status, started_at, finished_at, recorded_at, moment,
    commit_sha, commit_at, deployed_by, source, is_rework, metadata, updated_at) ON deployment TO share_owner;
GRANT SELECT (tenant_id, id, occurred_at, environment, action, event_type, resource_type, resource_id, component_id,
    actor_id, actor_type, actor_username, previous_resource, current_resource) ON audit_event TO share_owner;

SET LOCAL ROLE share_owner;

CREATE VIEW share.component_v1 WITH (security_barrier) AS
SELECT tenant_id, id, name, kind, lifecycle, owner, description, metadata, created_at, updated_at, deleted_at
FROM reporting.component;

CREATE VIEW share.environment_v1 WITH (security_barrier) AS
SELECT tenant_id, id, name, tier, description, created_at, updated_at, deleted_at FROM reporting.environment;

CREATE VIEW share.deployment_v1 WITH (security_barrier) AS
SELECT tenant_id, id, component_id, environment_id, version, status, started_at, finished_at, recorded_at, moment,
    commit_sha, commit_at, deployed_by, source, is_rework, metadata, updated_at
FROM reporting.deployment;

CREATE VIEW share.audit_event_v1 WITH (security_barrier) AS
SELECT tenant_id, id, occurred_at, environment, action, event_type, resource_type, resource_id, component_id, actor_id,
    actor_type, actor_username, previous_resource, current_resource
FROM reporting.audit_event;

RESET ROLE;

-- migrate:down
