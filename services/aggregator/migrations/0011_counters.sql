-- migrate:up
-- The window over which a tenant's counters hold: everything at or after `since`. `checked_at`: last comparison with rows.
CREATE TABLE usage_window (
    tenant_id uuid PRIMARY KEY,
    since timestamptz NOT NULL,
    checked_at timestamptz
);
SELECT tidemark.protect('usage_window');

-- What a product's statistics are made of. Where `stale`, its counters do not hold until they are built from the rows.
-- `last_at` is over all of history; no reference that counts was seen after `seen_until`.
CREATE TABLE product_state (
    tenant_id uuid NOT NULL,
    product_id uuid NOT NULL,
    space_id uuid NOT NULL,
    stale boolean NOT NULL,
    executions numeric NOT NULL,
    users bigint NOT NULL,
    charts bigint NOT NULL,
    last_at timestamptz,
    seen_until timestamptz,
    PRIMARY KEY (tenant_id, product_id),
    FOREIGN KEY (tenant_id, product_id) REFERENCES data_product (tenant_id, id) ON DELETE CASCADE
) WITH (fillfactor = 50);
CREATE INDEX product_state_stale ON product_state (tenant_id, space_id) WHERE stale;
SELECT tidemark.protect('product_state');

-- Patterns that name a table of a product, and the labels of the columns that they use of its own tables.
CREATE TABLE product_pattern (
    tenant_id uuid NOT NULL,
    pattern_id uuid NOT NULL,
    product_id uuid NOT NULL,
    connector_id uuid NOT NULL,
    labels text[] NOT NULL,
    PRIMARY KEY (tenant_id, pattern_id, product_id)
);
CREATE INDEX product_pattern_by_product ON product_pattern (tenant_id, product_id);
SELECT tidemark.protect('product_pattern');

-- How many rows of a product's window name a person (by a digest), use a column, show a chart; none has zero.
CREATE TABLE product_user (
    tenant_id uuid NOT NULL,
    product_id uuid NOT NULL,
    user_key bytea NOT NULL,
    n bigint NOT NULL,
    PRIMARY KEY (tenant_id, product_id, user_key)
) WITH (fillfactor = 80);
SELECT tidemark.protect('product_user');

CREATE TABLE product_column (
    tenant_id uuid NOT NULL,
    product_id uuid NOT NULL,
    label_key bytea NOT NULL,
    label text COLLATE "C" NOT NULL,
    n numeric NOT NULL,
    PRIMARY KEY (tenant_id, product_id, label_key)
) WITH (fillfactor = 80);
SELECT tidemark.protect('product_column');

CREATE TABLE product_chart (
    tenant_id uuid NOT NULL,
    product_id uuid NOT NULL,
    connector_id uuid NOT NULL,
    chart_key uuid NOT NULL,
    n bigint NOT NULL,
    PRIMARY KEY (tenant_id, product_id, connector_id, chart_key)
) WITH (fillfactor = 80);
SELECT tidemark.protect('product_chart');

CREATE INDEX bi_reference_by_moment ON bi_reference (tenant_id, seen_at) WHERE retired_at IS NULL;

-- Takes the place of usage_dirty, which only the version before this one writes from now on.
CREATE TABLE usage_mark (
    tenant_id uuid NOT NULL,
    product_id uuid NOT NULL,
    space_id uuid NOT NULL,
    marked_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, product_id)
) WITH (fillfactor = 50);
CREATE INDEX usage_mark_by_space ON usage_mark (tenant_id, space_id);
SELECT tidemark.protect('usage_mark');

-- Each product has a state, whichever version makes it.
CREATE FUNCTION product_state_begin() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO product_state (tenant_id, product_id, space_id, stale, executions, users, charts)
    VALUES (NEW.tenant_id, NEW.id, NEW.space_id, true, 0, 0, 0);
    RETURN NULL;
END
$$;
CREATE TRIGGER product_state_begin AFTER INSERT ON data_product FOR EACH ROW EXECUTE FUNCTION product_state_begin();

-- The version before this one counts nothing: what it marks, and whose tables it changes, is built anew.
CREATE FUNCTION product_state_doubt() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE product_state SET stale = true
    WHERE tenant_id = NEW.tenant_id AND product_id = NEW.product_id AND NOT stale;
    INSERT INTO usage_mark (tenant_id, product_id, space_id, marked_at)
    VALUES (NEW.tenant_id, NEW.product_id, NEW.space_id, NEW.marked_at)
    ON CONFLICT (tenant_id, product_id) DO UPDATE SET marked_at = excluded.marked_at;
    RETURN NULL;
END
$$;
CREATE TRIGGER product_state_doubt AFTER INSERT OR UPDATE ON usage_dirty
    FOR EACH ROW EXECUTE FUNCTION product_state_doubt();

CREATE FUNCTION product_state_reclaim() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE product_state SET stale = true
    WHERE tenant_id = coalesce(NEW.tenant_id, OLD.tenant_id)
      AND product_id = coalesce(NEW.product_id, OLD.product_id) AND NOT stale;
    RETURN NULL;
END
$$;
CREATE TRIGGER product_state_reclaim AFTER INSERT OR DELETE ON product_table
    FOR EACH ROW EXECUTE FUNCTION product_state_reclaim();

INSERT INTO product_state (tenant_id, product_id, space_id, stale, executions, users, charts)
SELECT tenant_id, id, space_id, true, 0, 0, 0 FROM data_product;
INSERT INTO usage_mark (tenant_id, product_id, space_id, marked_at)
SELECT tenant_id, id, space_id, updated_at FROM data_product;

-- migrate:down
