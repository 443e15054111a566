-- migrate:up
-- A deleted tenant stays, so that its late records are dropped.
CREATE TABLE tenant (
    tenant_id uuid PRIMARY KEY,
    version bigint NOT NULL,
    name text,
    slug text,
    deleted_at timestamptz,
    purged_at timestamptz
);
CREATE INDEX tenant_to_purge ON tenant (deleted_at) WHERE deleted_at IS NOT NULL AND purged_at IS NULL;
SELECT tidemark.protect('tenant');

-- Names of persons who must be forgotten: a keyed digest, what stands for it; the name itself, sealed, only until no
-- row holds it.
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
