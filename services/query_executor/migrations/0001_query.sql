-- migrate:up
CREATE TABLE app (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    slug text NOT NULL,
    name text NOT NULL,
    description text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT app_slug_taken UNIQUE (tenant_id, slug)
);
SELECT tidemark.protect('app');

CREATE TABLE secret_type (
    tenant_id uuid NOT NULL,
    slug text NOT NULL,
    name text NOT NULL,
    description text,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, slug)
);
SELECT tidemark.protect('secret_type');

-- A secret names its type by slug alone: a type that went away is said when the secret is used.
CREATE TABLE secret (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    app_id uuid NOT NULL,
    key text NOT NULL,
    type_slug text NOT NULL,
    description text,
    settings jsonb NOT NULL,
    sealed_value text NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT secret_key_taken UNIQUE (tenant_id, app_id, key),
    FOREIGN KEY (tenant_id, app_id) REFERENCES app ON DELETE CASCADE
);
SELECT tidemark.protect('secret');

-- What is run lies in the versions; `version` is the newest.
CREATE TABLE analytics_query (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    app_id uuid NOT NULL,
    slug text NOT NULL,
    name text NOT NULL,
    description text,
    tags text[] NOT NULL,
    version integer NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT analytics_query_slug_taken UNIQUE (tenant_id, app_id, slug),
    FOREIGN KEY (tenant_id, app_id) REFERENCES app ON DELETE CASCADE
);
SELECT tidemark.protect('analytics_query');

CREATE TABLE analytics_query_version (
    tenant_id uuid NOT NULL,
    query_id uuid NOT NULL,
    version integer NOT NULL,
    connection_type text NOT NULL CHECK (connection_type IN ('external', 'internal')),
    secret_key text CHECK ((secret_key IS NULL) = (connection_type = 'internal')),
    query_text text NOT NULL,
    parameters jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, query_id, version),
    FOREIGN KEY (tenant_id, query_id) REFERENCES analytics_query ON DELETE CASCADE
);
SELECT tidemark.protect('analytics_query_version');

-- Who ran what and how it went: no parameter, no statement, no value. It outlives its query.
CREATE TABLE query_execution (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    environment text NOT NULL,
    app_id uuid NOT NULL,
    query_id uuid NOT NULL,
    query_version integer NOT NULL,
    secret_id uuid,
    secret_version bigint,
    executed_by text,
    actor_type text NOT NULL,
    state text NOT NULL CHECK (state IN ('completed', 'failed', 'cancelled')),
    error_code text,
    row_count bigint NOT NULL,
    truncated boolean NOT NULL,
    milliseconds double precision NOT NULL,
    started_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX query_execution_newest ON query_execution (tenant_id, query_id, started_at DESC, id DESC);
SELECT tidemark.protect('query_execution');

-- migrate:down
