-- migrate:up
-- The records of a batch that were read but whose sending is not known yet; the cursor moved in the same transaction.
-- `body` packs them; it is stored as it is, because it lives for a moment.
-- unsent_record holds only what the version before has left.
CREATE TABLE unsent_batch (
    tenant_id uuid NOT NULL,
    job_id uuid NOT NULL,
    first_job_seq bigint NOT NULL,
    body text NOT NULL,
    traceparent text,
    PRIMARY KEY (tenant_id, job_id, first_job_seq),
    CONSTRAINT unsent_batch_job FOREIGN KEY (tenant_id, job_id) REFERENCES mining_job (tenant_id, id) ON DELETE CASCADE
);
ALTER TABLE unsent_batch ALTER COLUMN body SET STORAGE EXTERNAL;
SELECT tidemark.protect('unsent_batch');

-- migrate:down
