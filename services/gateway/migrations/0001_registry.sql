-- migrate:up
CREATE TABLE tenant (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    slug text NOT NULL CONSTRAINT tenant_slug_taken UNIQUE,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL
);
SELECT tidemark.protect('tenant', 'id');

-- The secret's hash only. `id` alone is unique: a key says its id before anything is known of its tenant.
CREATE TABLE api_key (
    tenant_id uuid NOT NULL CONSTRAINT api_key_tenant REFERENCES tenant (id),
    id uuid NOT NULL CONSTRAINT api_key_id_taken UNIQUE,
    name text NOT NULL,
    environment text NOT NULL CHECK (environment IN ('production', 'staging')),
    roles text[] NOT NULL,
    secret_hash bytea NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    last_used_at timestamptz,
    revoked_at timestamptz,
    PRIMARY KEY (tenant_id, id)
);
SELECT tidemark.protect('api_key');
CREATE INDEX api_key_page ON api_key (tenant_id, created_at, id);

-- Settings are sealed; a deleted connector stays as a marker without them.
CREATE TABLE connector (
    tenant_id uuid NOT NULL CONSTRAINT connector_tenant REFERENCES tenant (id),
    id uuid NOT NULL,
    name text NOT NULL,
    type text NOT NULL,
    environment text NOT NULL CHECK (environment IN ('production', 'staging')),
    counts_executions boolean NOT NULL,
    sealed_settings text,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    PRIMARY KEY (tenant_id, id),
    CHECK ((deleted_at IS NULL) = (sealed_settings IS NOT NULL))
);
SELECT tidemark.protect('connector');
CREATE UNIQUE INDEX connector_name_taken ON connector (tenant_id, name) WHERE deleted_at IS NULL;
CREATE INDEX connector_page ON connector (tenant_id, created_at, id) WHERE deleted_at IS NULL;

-- migrate:down
