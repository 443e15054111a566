-- migrate:up
-- Queries that run by the clock. `sealed_request`: as whom and with what parameters; `person_digests` find the
-- person's when they must be forgotten.
CREATE TABLE query_schedule (
    tenant_id uuid NOT NULL,
    query_id uuid NOT NULL,
    cron text NOT NULL,
    timezone text NOT NULL,
    sealed_request text NOT NULL,
    person_digests bytea[] NOT NULL,
    next_run_at timestamptz NOT NULL,
    due_at timestamptz,
    execution_id uuid,
    PRIMARY KEY (tenant_id, query_id),
    FOREIGN KEY (tenant_id, query_id) REFERENCES analytics_query ON DELETE CASCADE
);
CREATE INDEX query_schedule_due ON query_schedule (next_run_at);
SELECT tidemark.protect('query_schedule');

-- migrate:down
