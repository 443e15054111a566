-- migrate:up
CREATE TABLE connector (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL,
    name text,
    type text,
    environment text NOT NULL,
    counts_executions boolean NOT NULL,
    sealed_settings text,
    deleted boolean NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
SELECT tidemark.protect('connector');

-- `run` fences a worker's writes, `attempts` counts claims. Each run has a `sync_seq` of its own, which rises strictly
-- per connector. `closing_*` is the closing record (SyncCompleted), repeated until the aggregator's outcome arrives.
CREATE TABLE sync_job (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    connector_id uuid NOT NULL,
    connector_version bigint NOT NULL,
    sync_seq bigint NOT NULL,
    state text NOT NULL CHECK (state IN ('pending', 'running', 'completed', 'partial', 'failed', 'cancelled')),
    phase text NOT NULL CHECK (phase IN ('waiting', 'reading', 'storing', 'done')),
    activity text,
    run integer NOT NULL DEFAULT 0,
    attempts integer NOT NULL DEFAULT 0,
    cancel_requested boolean NOT NULL DEFAULT false,
    next_job_seq bigint NOT NULL DEFAULT 1,
    percentage real NOT NULL DEFAULT 0,
    resources_scraped bigint NOT NULL DEFAULT 0,
    rows_upserted bigint,
    rows_rejected bigint,
    references_retired bigint,
    warnings text[] NOT NULL DEFAULT '{}',
    warning_count bigint NOT NULL DEFAULT 0,
    error_code text,
    error text,
    requested_by text,
    traceparent text,
    closing_complete boolean,
    closing_due_at timestamptz,
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX sync_job_one_active ON sync_job (tenant_id, connector_id) WHERE state IN ('pending', 'running');
CREATE UNIQUE INDEX sync_job_sync_seq ON sync_job (tenant_id, connector_id, sync_seq);
CREATE INDEX sync_job_newest ON sync_job (tenant_id, connector_id, created_at DESC, id DESC);
CREATE INDEX sync_job_closing ON sync_job (closing_due_at) WHERE closing_due_at IS NOT NULL;
SELECT tidemark.protect('sync_job');

-- From when on a connector's executions count, fixed by its first sync.
CREATE TABLE sync_origin (
    tenant_id uuid NOT NULL,
    connector_id uuid NOT NULL,
    read_since timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, connector_id)
);
SELECT tidemark.protect('sync_origin');

-- Where reading of executions goes on; the tool's module knows what a position holds. References have none.
CREATE TABLE sync_cursor (
    tenant_id uuid NOT NULL,
    connector_id uuid NOT NULL,
    part text NOT NULL,
    position jsonb NOT NULL,
    PRIMARY KEY (tenant_id, connector_id, part)
);
SELECT tidemark.protect('sync_cursor');

-- migrate:down
