-- migrate:up
-- A statement without its literals, over given tables, of one connector. The id is derived from all of these.
CREATE TABLE sql_pattern (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    connector_id uuid NOT NULL,
    dialect text NOT NULL,
    sql_text text,
    text_key uuid,
    truncated boolean NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
SELECT tidemark.protect('sql_pattern');

CREATE TABLE pattern_table (
    tenant_id uuid NOT NULL,
    pattern_id uuid NOT NULL,
    table_key uuid NOT NULL,
    connector_id uuid NOT NULL,
    last_part text NOT NULL,
    display text NOT NULL,
    PRIMARY KEY (tenant_id, pattern_id, table_key)
);
SELECT tidemark.protect('pattern_table');

-- The whole name and its shorter ends: a product's claim matches by equality with one of them.
CREATE TABLE pattern_table_key (
    tenant_id uuid NOT NULL,
    match_key uuid NOT NULL,
    pattern_id uuid NOT NULL,
    table_key uuid NOT NULL,
    connector_id uuid NOT NULL,
    PRIMARY KEY (tenant_id, match_key, pattern_id, table_key)
);
CREATE INDEX pattern_table_key_by_pattern ON pattern_table_key (tenant_id, pattern_id);
CREATE INDEX pattern_table_key_by_connector ON pattern_table_key (tenant_id, connector_id, match_key);
SELECT tidemark.protect('pattern_table_key');

CREATE TABLE pattern_column (
    tenant_id uuid NOT NULL,
    pattern_id uuid NOT NULL,
    table_key uuid NOT NULL,
    column_name text NOT NULL,
    PRIMARY KEY (tenant_id, pattern_id, table_key, column_name)
);
SELECT tidemark.protect('pattern_column');

-- Executions. (sync_seq, job_seq, said_at) ranks what is known of a record: less never overwrites more.
CREATE TABLE query_log (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    connector_id uuid NOT NULL,
    environment text NOT NULL,
    resource_type text NOT NULL,
    resource_id text NOT NULL,
    title text,
    pattern_id uuid NOT NULL,
    executed_by text,
    executed_at timestamptz NOT NULL,
    execution_count bigint NOT NULL,
    dashboard_id text,
    dashboard_title text,
    dashboard_url text,
    sync_seq bigint NOT NULL,
    job_seq bigint NOT NULL,
    said_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX query_log_by_pattern ON query_log (tenant_id, pattern_id, executed_at);
CREATE INDEX query_log_by_connector ON query_log (tenant_id, connector_id, executed_at, id);
SELECT tidemark.protect('query_log');

-- Charts, dashboard charts, saved queries: things without an execution. `seen_at` is the moment at which one counts.
CREATE TABLE bi_reference (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    connector_id uuid NOT NULL,
    environment text NOT NULL,
    resource_type text NOT NULL,
    resource_id text NOT NULL,
    chart_key uuid NOT NULL,
    title text,
    pattern_id uuid NOT NULL,
    executed_by text,
    dashboard_id text,
    dashboard_title text,
    dashboard_url text,
    sync_seq bigint NOT NULL,
    job_seq bigint NOT NULL,
    said_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    retired_at timestamptz,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX bi_reference_by_pattern ON bi_reference (tenant_id, pattern_id) WHERE retired_at IS NULL;
CREATE INDEX bi_reference_by_connector ON bi_reference (tenant_id, connector_id, created_at, id)
    WHERE retired_at IS NULL;
SELECT tidemark.protect('bi_reference');

-- The newest complete sync of a connector: references of older syncs are gone.
CREATE TABLE reference_sync (
    tenant_id uuid NOT NULL,
    connector_id uuid NOT NULL,
    complete_seq bigint NOT NULL,
    PRIMARY KEY (tenant_id, connector_id)
);
SELECT tidemark.protect('reference_sync');

-- Which records of a collecting job arrived. Only this service closes a ledger; a closed one never changes.
CREATE TABLE sync_ledger (
    tenant_id uuid NOT NULL,
    connector_id uuid NOT NULL,
    job_id uuid NOT NULL,
    sync_seq bigint NOT NULL,
    stored int8multirange NOT NULL,
    rejected int8multirange NOT NULL,
    count bigint,
    complete boolean,
    closing_at timestamptz,
    state text NOT NULL CHECK (state IN ('open', 'completed', 'partial')),
    retired bigint NOT NULL,
    closed_at timestamptz,
    PRIMARY KEY (tenant_id, connector_id, job_id, sync_seq)
);
CREATE INDEX sync_ledger_closing ON sync_ledger (closing_at) WHERE state = 'open' AND closing_at IS NOT NULL;
SELECT tidemark.protect('sync_ledger');

CREATE TABLE product_usage_stats (
    tenant_id uuid NOT NULL,
    product_id uuid NOT NULL,
    space_id uuid NOT NULL,
    query_count_30d bigint NOT NULL,
    execution_count_30d bigint NOT NULL,
    reference_count bigint NOT NULL,
    unique_users_30d bigint NOT NULL,
    last_queried_at timestamptz,
    popularity_score double precision NOT NULL,
    top_columns text[] NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, product_id),
    FOREIGN KEY (tenant_id, product_id) REFERENCES data_product (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX product_usage_stats_by_score ON product_usage_stats (tenant_id, space_id, popularity_score, product_id);
CREATE INDEX product_usage_stats_by_age ON product_usage_stats (updated_at);
SELECT tidemark.protect('product_usage_stats');

-- Products whose statistics no longer hold.
CREATE TABLE usage_dirty (
    tenant_id uuid NOT NULL,
    product_id uuid NOT NULL,
    space_id uuid NOT NULL,
    marked_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, product_id)
);
CREATE INDEX usage_dirty_by_space ON usage_dirty (tenant_id, space_id);
SELECT tidemark.protect('usage_dirty');

-- When a space was refreshed last, so that all replicas together refresh it at most once a second.
CREATE TABLE usage_refresh (
    tenant_id uuid NOT NULL,
    space_id uuid NOT NULL,
    refreshed_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, space_id)
);
SELECT tidemark.protect('usage_refresh');

-- migrate:down
