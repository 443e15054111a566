-- migrate:up
-- Where other systems send their webhooks. `id` alone is unique: an address says it before anything is known of the
-- tenant. During a rotation the old secret is valid too: until a given time, or until it is revoked.
CREATE TABLE webhook_source (
    tenant_id uuid NOT NULL CONSTRAINT webhook_source_tenant REFERENCES tenant (id),
    id uuid NOT NULL CONSTRAINT webhook_source_id_taken UNIQUE,
    name text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('github', 'gitlab', 'argocd', 'devlake', 'generic')),
    environment text NOT NULL CHECK (environment IN ('production', 'staging')),
    enabled boolean NOT NULL,
    signed_only boolean NOT NULL,
    mapping jsonb NOT NULL,
    sealed_secret text NOT NULL,
    sealed_old_secret text,
    old_secret_until timestamptz,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT webhook_source_name_taken UNIQUE (tenant_id, name),
    CHECK (sealed_old_secret IS NOT NULL OR old_secret_until IS NULL)
);
SELECT tidemark.protect('webhook_source');
CREATE INDEX webhook_source_page ON webhook_source (tenant_id, created_at, id);

-- migrate:down
