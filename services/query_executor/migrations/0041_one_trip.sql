-- migrate:up
-- What each execution asks before it runs and writes when it has run, in one round trip each. Both run with the
-- caller's rights, so row-level security holds; the tenant is bound for the statement alone, which is a transaction
-- of its own.
CREATE FUNCTION runnable(wanted_tenant uuid, app_slug text, query_slug text) RETURNS TABLE (
    app_id uuid, id uuid, slug text, name text, description text, tags text[], version integer, connection_type text,
    secret_key text, query_text text, parameters jsonb, created_at timestamptz, updated_at timestamptz,
    secret__id uuid, secret__key text, secret__type_slug text, secret__description text, secret__settings jsonb,
    secret__sealed_value text, secret__version bigint, secret__created_at timestamptz, secret__updated_at timestamptz,
    has_type boolean
)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('app.tenant', wanted_tenant::text, true);
    RETURN QUERY SELECT a.id, q.id, q.slug, q.name, q.description, q.tags, q.version, v.connection_type,
        v.secret_key, v.query_text, v.parameters, q.created_at, q.updated_at,
        s.id, s.key, s.type_slug, s.description, s.settings, s.sealed_value, s.version, s.created_at, s.updated_at,
        t.slug IS NOT NULL
    FROM app a
    JOIN analytics_query q ON q.tenant_id = a.tenant_id AND q.app_id = a.id
    JOIN analytics_query_version v ON v.tenant_id = q.tenant_id AND v.query_id = q.id AND v.version = q.version
    LEFT JOIN secret s ON s.tenant_id = q.tenant_id AND s.app_id = q.app_id AND s.key = v.secret_key
    LEFT JOIN secret_type t ON t.tenant_id = q.tenant_id AND t.slug = s.type_slug
    WHERE a.tenant_id = wanted_tenant AND a.slug = app_slug AND q.slug = query_slug;
END
$$;

-- Writes an execution once, and with it its event, where there is one. Where the person's name is erased (one of
-- `digests`) it writes nothing and returns what stands for the name. The lock is that of libs/common/erasure.py: an
-- erasure waits for this transaction, or has been committed before the statement behind the lock looks.
CREATE FUNCTION record_execution(
    wanted_tenant uuid, digests bytea[], execution jsonb,
    event_topic text, event_key text, event_headers jsonb, event_value text, event_at timestamptz
) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    pseudonym text;
BEGIN
    PERFORM set_config('app.tenant', wanted_tenant::text, true);
    PERFORM pg_advisory_xact_lock_shared(
        hashtextextended(current_schema() || ':erasure:' || wanted_tenant::text, 0)
    );
    SELECT e.pseudonym INTO pseudonym FROM erased_name e
    WHERE e.tenant_id = wanted_tenant AND e.digest = ANY (digests);
    IF FOUND THEN
        RETURN pseudonym;
    END IF;
    INSERT INTO query_execution
    SELECT * FROM jsonb_populate_record(
        NULL::query_execution, execution || jsonb_build_object('tenant_id', wanted_tenant)
    )
    ON CONFLICT (tenant_id, id) DO NOTHING;
    IF FOUND AND event_topic IS NOT NULL THEN
        INSERT INTO outbox (topic, key, headers, value, created_at)
        VALUES (event_topic, event_key, event_headers, event_value, event_at);
    END IF;
    RETURN NULL;
END
$$;

-- migrate:down
