-- migrate:up
-- What the pass-through asks for each request to a connector, in one round trip. It runs with the caller's rights, so
-- row-level security holds; the tenant is bound for the statement alone, which is a transaction of its own.
CREATE FUNCTION connector_facts(wanted_tenant uuid, wanted uuid) RETURNS TABLE (type text, version bigint)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('app.tenant', wanted_tenant::text, true);
    RETURN QUERY SELECT c.type, c.version FROM connector c
        WHERE c.tenant_id = wanted_tenant AND c.id = wanted AND c.deleted_at IS NULL;
END
$$;

-- migrate:down
