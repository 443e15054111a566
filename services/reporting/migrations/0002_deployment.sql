-- migrate:up
-- Every state of a deployment that was told, in any order and once each. What a deployment is now follows from these.
CREATE TABLE deployment_state (
    tenant_id uuid NOT NULL,
    deployment_id uuid NOT NULL,
    recorded_at timestamptz NOT NULL,
    sequence bigint NOT NULL,
    status text NOT NULL CHECK (status IN ('PENDING', 'IN_PROGRESS', 'SUCCEEDED', 'FAILED', 'ROLLED_BACK')),
    event_id text NOT NULL,
    component_id uuid NOT NULL,
    environment_id uuid NOT NULL,
    version text,
    started_at timestamptz,
    finished_at timestamptz,
    commit_sha text,
    commit_at timestamptz,
    deployed_by text,
    source text NOT NULL,
    is_rework boolean NOT NULL,
    metadata jsonb NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, deployment_id, recorded_at, sequence, status, event_id),
    CHECK (finished_at >= started_at)
);
SELECT tidemark.protect('deployment_state');

-- The latest state of each, completed by what earlier ones told. `moment`: finished, else started, else recorded.
CREATE TABLE deployment (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    component_id uuid NOT NULL,
    environment_id uuid NOT NULL,
    version text,
    status text NOT NULL CHECK (status IN ('PENDING', 'IN_PROGRESS', 'SUCCEEDED', 'FAILED', 'ROLLED_BACK')),
    started_at timestamptz,
    finished_at timestamptz,
    recorded_at timestamptz NOT NULL,
    sequence bigint NOT NULL,
    moment timestamptz NOT NULL GENERATED ALWAYS AS (coalesce(finished_at, started_at, recorded_at)) STORED,
    commit_sha text,
    commit_at timestamptz,
    deployed_by text,
    source text NOT NULL,
    is_rework boolean NOT NULL,
    metadata jsonb NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    CHECK (finished_at >= started_at)
);
SELECT tidemark.protect('deployment');
CREATE INDEX deployment_moment ON deployment (tenant_id, moment, id);
-- The next success in the same place: recovery.
CREATE INDEX deployment_success ON deployment (tenant_id, component_id, environment_id, moment) WHERE status = 'SUCCEEDED';

-- Of a component or environment that nobody has made yet; applied when it appears.
CREATE TABLE parked_deployment (
    tenant_id uuid NOT NULL,
    source text NOT NULL,
    event_id text NOT NULL,
    deployment_id uuid NOT NULL,
    component_ref text,
    environment_ref text,
    reason text NOT NULL,
    event jsonb NOT NULL,
    parked_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, source, event_id)
);
SELECT tidemark.protect('parked_deployment');
CREATE INDEX parked_deployment_page ON parked_deployment (tenant_id, parked_at, event_id);

-- Events that were taken, by sender and id: the same one again changes nothing for as many days as they are kept.
CREATE TABLE seen_event (
    tenant_id uuid NOT NULL,
    source text NOT NULL,
    event_id text NOT NULL,
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, source, event_id)
);
SELECT tidemark.protect('seen_event');
CREATE INDEX seen_event_age ON seen_event (seen_at);

-- migrate:down
