-- migrate:up
CREATE TABLE connector_schedule (
    tenant_id uuid NOT NULL,
    connector_id uuid NOT NULL,
    cron text NOT NULL,
    timezone text NOT NULL,
    PRIMARY KEY (tenant_id, connector_id)
);
SELECT tidemark.protect('connector_schedule');

CREATE TABLE schedule_run (
    tenant_id uuid NOT NULL,
    connector_id uuid NOT NULL,
    next_run_at timestamptz NOT NULL,
    due_at timestamptz,
    job_id uuid,
    failures integer NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, connector_id),
    FOREIGN KEY (tenant_id, connector_id) REFERENCES connector_schedule (tenant_id, connector_id) ON DELETE CASCADE
);
CREATE INDEX schedule_run_due ON schedule_run (next_run_at);
SELECT tidemark.protect('schedule_run');

-- migrate:down
