-- migrate:up
CREATE TABLE audit_event (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    occurred_at timestamptz NOT NULL,
    environment text NOT NULL,
    action text NOT NULL,
    event_type text NOT NULL,
    resource_type text NOT NULL,
    resource_id text NOT NULL,
    component_id uuid,
    actor_id text,
    actor_type text NOT NULL CHECK (actor_type IN ('user', 'api_key', 'recipient', 'service', 'unknown')),
    actor_username text,
    previous_resource jsonb,
    current_resource jsonb CHECK (action <> 'DELETE' OR current_resource IS NULL),
    received_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
SELECT tidemark.protect('audit_event');
-- Holds what the usage report counts, so that a window is read from it alone, however long the history is.
CREATE INDEX audit_event_time ON audit_event (tenant_id, occurred_at, id)
    INCLUDE (action, component_id, actor_id, actor_username);
CREATE INDEX audit_event_resource ON audit_event (tenant_id, resource_type, resource_id, occurred_at);
CREATE INDEX audit_event_component ON audit_event (tenant_id, component_id, occurred_at, id)
    WHERE component_id IS NOT NULL;
CREATE INDEX audit_event_actor ON audit_event (tenant_id, actor_id, occurred_at, id) WHERE actor_id IS NOT NULL;

-- migrate:down
