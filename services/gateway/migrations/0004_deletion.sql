-- migrate:up
-- A deleted tenant stays as a row without its name, so that nothing is made in it again; its slug is free.
ALTER TABLE tenant ADD COLUMN deleted_at timestamptz;
ALTER TABLE tenant ALTER COLUMN name DROP NOT NULL;
ALTER TABLE tenant ALTER COLUMN slug DROP NOT NULL;

CREATE TABLE erased_name (
    tenant_id uuid NOT NULL,
    digest bytea NOT NULL,
    pseudonym text NOT NULL,
    sealed_name text,
    erased_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, digest),
    CONSTRAINT erased_name_pseudonym_taken UNIQUE (tenant_id, pseudonym)
);
CREATE INDEX erased_name_to_rewrite ON erased_name (erased_at) WHERE sealed_name IS NOT NULL;
SELECT tidemark.protect('erased_name');

-- migrate:down
