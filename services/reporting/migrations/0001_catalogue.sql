-- migrate:up
-- A deleted component or environment stays as a marker, so that reports about the past can name it.
CREATE TABLE component (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    name text NOT NULL,
    kind text NOT NULL,
    lifecycle text NOT NULL CHECK (lifecycle IN ('production', 'experimental', 'planned', 'deprecated', 'decommissioned')),
    owner text,
    description text,
    refs text[] NOT NULL DEFAULT '{}',
    metadata jsonb NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    PRIMARY KEY (tenant_id, id)
);
SELECT tidemark.protect('component');
CREATE INDEX component_page ON component (tenant_id, created_at, id) WHERE deleted_at IS NULL;

-- The names under which others speak of it while it lives, folded to lower case: its own, its id, and what it was given
-- beside (`refs`, as they were written). One name means one component.
CREATE TABLE component_ref (
    tenant_id uuid NOT NULL,
    ref text NOT NULL,
    component_id uuid NOT NULL,
    PRIMARY KEY (tenant_id, ref),
    FOREIGN KEY (tenant_id, component_id) REFERENCES component ON DELETE CASCADE
);
SELECT tidemark.protect('component_ref');
CREATE INDEX component_ref_component ON component_ref (tenant_id, component_id);

CREATE TABLE environment (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    name text NOT NULL,
    tier text NOT NULL CHECK (tier IN ('production', 'staging', 'testing', 'development', 'other')),
    description text,
    refs text[] NOT NULL DEFAULT '{}',
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    PRIMARY KEY (tenant_id, id)
);
SELECT tidemark.protect('environment');
CREATE INDEX environment_page ON environment (tenant_id, created_at, id) WHERE deleted_at IS NULL;

CREATE TABLE environment_ref (
    tenant_id uuid NOT NULL,
    ref text NOT NULL,
    environment_id uuid NOT NULL,
    PRIMARY KEY (tenant_id, ref),
    FOREIGN KEY (tenant_id, environment_id) REFERENCES environment ON DELETE CASCADE
);
SELECT tidemark.protect('environment_ref');
CREATE INDEX environment_ref_environment ON environment_ref (tenant_id, environment_id);

-- migrate:down
