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

-- `run` fences a worker's writes, `attempts` counts claims without progress. `closing_*` is the closing record
-- (SyncCompleted), repeated until the aggregator's outcome arrives.
CREATE TABLE mining_job (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    connector_id uuid NOT NULL,
    connector_version bigint NOT NULL,
    sync_seq bigint NOT NULL,
    state text NOT NULL CHECK (state IN ('pending', 'running', 'completed', 'partial', 'failed', 'cancelled')),
    phase text NOT NULL CHECK (phase IN ('waiting', 'reading', 'storing', 'done')),
    run integer NOT NULL DEFAULT 0,
    attempts integer NOT NULL DEFAULT 0,
    cancel_requested boolean NOT NULL DEFAULT false,
    next_job_seq bigint NOT NULL DEFAULT 1,
    percentage real NOT NULL DEFAULT 0,
    lines_read bigint NOT NULL DEFAULT 0,
    rows_sent bigint NOT NULL DEFAULT 0,
    rows_upserted bigint,
    rows_rejected bigint,
    warnings text[] NOT NULL DEFAULT '{}',
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
CREATE UNIQUE INDEX mining_job_one_active ON mining_job (tenant_id, connector_id)
    WHERE state IN ('pending', 'running');
CREATE UNIQUE INDEX mining_job_sync_seq ON mining_job (tenant_id, connector_id, sync_seq);
CREATE INDEX mining_job_newest ON mining_job (tenant_id, connector_id, created_at DESC, id DESC);
CREATE INDEX mining_job_closing ON mining_job (closing_due_at) WHERE closing_due_at IS NOT NULL;
SELECT tidemark.protect('mining_job');

-- From when on a connector's log counts, fixed by its first mining.
CREATE TABLE mining_origin (
    tenant_id uuid NOT NULL,
    connector_id uuid NOT NULL,
    read_since timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, connector_id)
);
SELECT tidemark.protect('mining_origin');

-- Where reading goes on, for each part of a log (a file, a table); the warehouse's module knows what a position holds.
CREATE TABLE mining_cursor (
    tenant_id uuid NOT NULL,
    connector_id uuid NOT NULL,
    part text NOT NULL,
    position jsonb NOT NULL,
    PRIMARY KEY (tenant_id, connector_id, part)
);
SELECT tidemark.protect('mining_cursor');

-- Records that were read but whose sending is not known yet; the cursor moved in the same transaction.
CREATE TABLE unsent_record (
    tenant_id uuid NOT NULL,
    job_id uuid NOT NULL,
    job_seq bigint NOT NULL,
    record text NOT NULL,
    traceparent text,
    PRIMARY KEY (tenant_id, job_id, job_seq),
    FOREIGN KEY (tenant_id, job_id) REFERENCES mining_job (tenant_id, id)
);
SELECT tidemark.protect('unsent_record');

-- migrate:down
