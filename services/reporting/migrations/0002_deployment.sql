-- migrate:up
-- Every state of a deployment that was told, in any order and once each. What a deployment is now follows from these.
-- `event_id` is made of the sender and its event's id: the same event again changes nothing.
-- `rolls_back_current`: told of a place. Its `deployment_id` is what was current there, null while nothing was.
-- `effective_at`: its order among the states of a deployment; when it was recorded, but a rollback of a place stands
-- behind the success that it undoes, even where that was reported late.
CREATE TABLE deployment_state (
    tenant_id uuid NOT NULL,
    event_id uuid NOT NULL,
    deployment_id uuid,
    recorded_at timestamptz NOT NULL,
    sequence bigint NOT NULL,
    status text NOT NULL CHECK (status IN ('PENDING', 'IN_PROGRESS', 'SUCCEEDED', 'FAILED', 'ROLLED_BACK')),
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
    rolls_back_current boolean NOT NULL,
    metadata jsonb NOT NULL,
    effective_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, event_id),
    CHECK (finished_at >= started_at),
    CHECK (deployment_id IS NOT NULL OR rolls_back_current)
);
SELECT tidemark.protect('deployment_state');
CREATE INDEX deployment_state_deployment ON deployment_state (tenant_id, deployment_id);
CREATE INDEX deployment_state_success ON deployment_state (
    tenant_id, component_id, environment_id, coalesce(finished_at, started_at, recorded_at)
) WHERE status = 'SUCCEEDED' AND NOT rolls_back_current;
CREATE INDEX deployment_state_rollback ON deployment_state (tenant_id, component_id, environment_id, recorded_at)
    WHERE rolls_back_current;

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
CREATE INDEX deployment_component ON deployment (tenant_id, component_id, moment, id);
-- One component's report, and the next success in the same place: recovery.
CREATE INDEX deployment_place ON deployment (tenant_id, component_id, environment_id, moment) INCLUDE (status);

-- Of a component or environment that nobody has made yet; applied when it appears. Refs are folded, or an id as text.
CREATE TABLE parked_deployment (
    tenant_id uuid NOT NULL,
    event_id uuid NOT NULL,
    component_ref text NOT NULL,
    environment_ref text NOT NULL,
    state jsonb NOT NULL,
    parked_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, event_id)
);
SELECT tidemark.protect('parked_deployment');
CREATE INDEX parked_deployment_page ON parked_deployment (tenant_id, parked_at, event_id);
CREATE INDEX parked_deployment_age ON parked_deployment (parked_at);

-- migrate:down
