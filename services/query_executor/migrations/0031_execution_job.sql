-- migrate:up
-- Results that are kept for a while: of executions that nobody waits for, and of those that may be answered again.
-- `cache_key` recognises the same statement with the same values on the same version of a secret.
CREATE TABLE query_result (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    query_id uuid NOT NULL,
    cache_key bytea,
    row_count bigint NOT NULL,
    truncated boolean NOT NULL,
    available bigint,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, query_id) REFERENCES analytics_query ON DELETE CASCADE
);
CREATE INDEX query_result_cached ON query_result (tenant_id, cache_key, created_at DESC) WHERE cache_key IS NOT NULL;
CREATE INDEX query_result_expiry ON query_result (expires_at);
SELECT tidemark.protect('query_result');

-- `rows`: JSON objects joined by commas.
CREATE TABLE query_result_part (
    tenant_id uuid NOT NULL,
    result_id uuid NOT NULL,
    first_row bigint NOT NULL,
    row_count integer NOT NULL,
    rows bytea NOT NULL,
    PRIMARY KEY (tenant_id, result_id, first_row),
    FOREIGN KEY (tenant_id, result_id) REFERENCES query_result ON DELETE CASCADE
);
SELECT tidemark.protect('query_result_part');

-- Executions that nobody waits for. `sealed_request`: who asked, with what parameters; `person_digests` find the
-- person's when they must be forgotten. `run` counts claims: every write of a worker names the one it belongs to.
CREATE TABLE execution_job (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    app_id uuid NOT NULL,
    query_id uuid NOT NULL,
    sealed_request text NOT NULL,
    person_digests bytea[] NOT NULL,
    state text NOT NULL CHECK (state IN ('pending', 'running', 'completed', 'failed', 'cancelled')),
    run integer NOT NULL,
    cancelling boolean NOT NULL,
    error jsonb,
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, query_id) REFERENCES analytics_query ON DELETE CASCADE
);
CREATE INDEX execution_job_expiry ON execution_job (expires_at);
CREATE INDEX execution_job_open ON execution_job (created_at) WHERE state IN ('pending', 'running');
SELECT tidemark.protect('execution_job');

-- migrate:down
