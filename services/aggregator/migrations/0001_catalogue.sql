-- migrate:up
CREATE TABLE space (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    slug text NOT NULL,
    name text NOT NULL,
    description text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT space_slug UNIQUE (tenant_id, slug)
);
SELECT tidemark.protect('space');

CREATE TABLE data_product (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    space_id uuid NOT NULL,
    slug text NOT NULL,
    name text NOT NULL,
    description text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT data_product_slug UNIQUE (tenant_id, space_id, slug),
    FOREIGN KEY (tenant_id, space_id) REFERENCES space (tenant_id, id) ON DELETE CASCADE
);
SELECT tidemark.protect('data_product');

-- A table that a product claims: its name as typed, optionally in one connector only.
CREATE TABLE product_table (
    tenant_id uuid NOT NULL,
    product_id uuid NOT NULL,
    position smallint NOT NULL,
    name text NOT NULL,
    connector_id uuid,
    PRIMARY KEY (tenant_id, product_id, position),
    FOREIGN KEY (tenant_id, product_id) REFERENCES data_product (tenant_id, id) ON DELETE CASCADE
);
SELECT tidemark.protect('product_table');

-- Keys under which a claim is found, one set for each dialect, because each folds the typed name its own way.
-- `whole` is the claim itself; the others are its shorter ends, which tell a reference that is too short.
-- Equality on a digest: other operators lose their index under row-level security, long names do not fit into one.
CREATE TABLE product_table_key (
    tenant_id uuid NOT NULL,
    match_key uuid NOT NULL,
    product_id uuid NOT NULL,
    position smallint NOT NULL,
    whole boolean NOT NULL,
    claim_key uuid NOT NULL,
    space_id uuid NOT NULL,
    connector_id uuid,
    PRIMARY KEY (tenant_id, match_key, product_id, position),
    FOREIGN KEY (tenant_id, product_id, position)
        REFERENCES product_table (tenant_id, product_id, position) ON DELETE CASCADE
);
CREATE INDEX product_table_key_by_product ON product_table_key (tenant_id, product_id, position);
SELECT tidemark.protect('product_table_key');

-- What this service needs of a connector; its settings are not here.
CREATE TABLE connector (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL,
    name text,
    type text,
    environment text NOT NULL,
    counts_executions boolean NOT NULL,
    deleted boolean NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
SELECT tidemark.protect('connector');

-- migrate:down
