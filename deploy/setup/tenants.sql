-- The database side of tenants' own queries: a login and a schema for each tenant, views over `share` in it.
-- All of it belongs to `tenant_owner`, which cannot log in; `query_executor_worker` may call the two entry points.
GRANT USAGE ON SCHEMA share TO tenant_owner;
ALTER DEFAULT PRIVILEGES FOR ROLE share_owner IN SCHEMA share GRANT SELECT ON TABLES TO tenant_owner;
GRANT SELECT ON ALL TABLES IN SCHEMA share TO tenant_owner;
GRANT USAGE ON SCHEMA tidemark TO tenant_owner;

-- Name of a tenant's login and of its schema. Without a search path of its own, so that the planner can inline it.
CREATE OR REPLACE FUNCTION tidemark.tenant_role(tenant uuid) RETURNS name
LANGUAGE sql IMMUTABLE AS $$
    SELECT ('tenant_' || pg_catalog.replace(tenant::text, '-', ''))::name
$$;

-- What tenants' schemas should hold, as one short text: it changes with the views of `share` and with this file.
CREATE OR REPLACE FUNCTION tidemark.share_stamp() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT '2:' || md5(coalesce(string_agg(format('%s.%s:%s', c.relname, a.attname, a.atttypid), ',' ORDER BY c.relname, a.attnum), ''))
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relnamespace = 'share'::regnamespace AND c.relkind = 'v'
$$;

-- The views a tenant gets: each version under its own name, the newest also under the name without a version.
CREATE OR REPLACE FUNCTION tidemark.offered_views(OUT name name, OUT source name, OUT columns text) RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH published AS (
        SELECT c.relname AS source, regexp_replace(c.relname, '_v\d+$', '')::name AS base,
               coalesce(substring(c.relname FROM '_v(\d+)$')::int, 0) AS version,
               string_agg(format('%I', a.attname), ', ' ORDER BY a.attnum) FILTER (WHERE a.attname <> 'tenant_id') AS columns
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE c.relnamespace = 'share'::regnamespace AND c.relkind = 'v'
        GROUP BY c.relname
        HAVING bool_or(a.attname = 'tenant_id')
    ), newest AS (
        SELECT DISTINCT ON (base) base, source, columns FROM published ORDER BY base, version DESC
    )
    SELECT source, source, columns FROM published UNION SELECT base, source, columns FROM newest
$$;

-- One view in a tenant's schema, the tenant's id written into it: a setting could be changed from inside a query.
-- A table of the tenant's own with that name stays what it is. What we made is known by its comment.
CREATE OR REPLACE FUNCTION tidemark.write_tenant_view(tenant uuid, name name, source name, columns text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    own name := tidemark.tenant_role(tenant);
    taken oid := to_regclass(format('%I.%I', own, name));
    view text := format(
        'VIEW %I.%I WITH (security_barrier) AS SELECT %s FROM share.%I WHERE tenant_id = %L::uuid',
        own, name, columns, source, tenant
    );
BEGIN
    IF taken IS NOT NULL AND obj_description(taken, 'pg_class') IS DISTINCT FROM 'tidemark: share' THEN
        RETURN;
    END IF;
    BEGIN
        EXECUTE 'CREATE OR REPLACE ' || view;
    EXCEPTION WHEN invalid_table_definition THEN  -- columns went or changed
        EXECUTE format('DROP VIEW %I.%I', own, name);
        EXECUTE 'CREATE ' || view;
    END;
    EXECUTE format('COMMENT ON VIEW %I.%I IS ''tidemark: share''', own, name);
END $$;

-- Brings a tenant's views to what is offered now, and lets its login read them and the tenant's own tables.
CREATE OR REPLACE FUNCTION tidemark.write_tenant_views(tenant uuid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    own name := tidemark.tenant_role(tenant);
    each record;
BEGIN
    FOR each IN
        SELECT c.relname FROM pg_class c
        WHERE c.relnamespace = to_regnamespace(own::text) AND c.relkind = 'v'
          AND obj_description(c.oid, 'pg_class') = 'tidemark: share'
          AND NOT EXISTS (SELECT FROM tidemark.offered_views() o WHERE o.name = c.relname)
    LOOP
        EXECUTE format('DROP VIEW %I.%I', own, each.relname);
    END LOOP;
    PERFORM tidemark.write_tenant_view(tenant, o.name, o.source, o.columns) FROM tidemark.offered_views() o;
    FOR each IN
        SELECT c.relname FROM pg_class c
        WHERE c.relnamespace = to_regnamespace(own::text) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
          AND c.relowner = current_user::regrole
    LOOP
        EXECUTE format('GRANT SELECT ON %I.%I TO %I', own, each.relname, own);
    END LOOP;
END $$;

-- The login: it reads one schema and nothing else. What it could change for its session, it gains nothing by.
CREATE OR REPLACE FUNCTION tidemark.write_tenant_login(tenant uuid, verifier text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    own name := tidemark.tenant_role(tenant);
    setting text;
BEGIN
    IF to_regrole(own::text) IS NULL THEN
        EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', own);
    END IF;
    EXECUTE format('ALTER ROLE %I LOGIN NOINHERIT CONNECTION LIMIT 20 PASSWORD %L', own, verifier);
    EXECUTE format('GRANT tenant_login TO %I WITH INHERIT TRUE, SET FALSE', own);
    FOREACH setting IN ARRAY ARRAY[
        format('search_path = %I', own), 'default_transaction_read_only = on', 'statement_timeout = ''5min''',
        'max_parallel_workers_per_gather = 0', 'lock_timeout = ''5s''', 'idle_in_transaction_session_timeout = ''6min''',
        'idle_session_timeout = ''15min'''
    ] LOOP
        EXECUTE format('ALTER ROLE %I SET %s', own, setting);
    END LOOP;
END $$;

-- Makes or repairs a tenant's login and schema; returns the stamp of what they hold now. May run again at any time.
-- `verifier` is a SCRAM-SHA-256 verifier of the login's password.
CREATE OR REPLACE FUNCTION tidemark.provision_tenant(tenant uuid, verifier text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '10s' AS $$
DECLARE
    own name := tidemark.tenant_role(tenant);
BEGIN
    IF verifier IS NULL OR verifier !~ '^SCRAM-SHA-256\$\d+:[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+$' THEN
        RAISE EXCEPTION 'the password must come as a SCRAM-SHA-256 verifier' USING ERRCODE = 'invalid_password';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('tidemark:tenant:' || tenant::text, 0));
    PERFORM tidemark.write_tenant_login(tenant, verifier);
    EXECUTE format('CREATE SCHEMA IF NOT EXISTS %I', own);
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', own, own);
    EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I GRANT SELECT ON TABLES TO %I', own, own);
    PERFORM tidemark.write_tenant_views(tenant);
    RETURN tidemark.share_stamp();
END $$;

-- Removes a tenant's schema with all it holds, and its login. May run again at any time.
CREATE OR REPLACE FUNCTION tidemark.drop_tenant(tenant uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '10s' AS $$
DECLARE
    own name := tidemark.tenant_role(tenant);
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('tidemark:tenant:' || tenant::text, 0));
    EXECUTE format('DROP SCHEMA IF EXISTS %I CASCADE', own);
    EXECUTE format('DROP ROLE IF EXISTS %I', own);
END $$;

DO $$
DECLARE
    each record;
BEGIN
    FOR each IN
        SELECT p.oid::regprocedure AS signature FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = 'tidemark'::regnamespace
          AND p.proname IN ('tenant_role', 'share_stamp', 'offered_views', 'write_tenant_view', 'write_tenant_views',
                            'write_tenant_login', 'provision_tenant', 'drop_tenant')
    LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO tenant_owner', each.signature);
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', each.signature);
    END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION tidemark.tenant_role(uuid), tidemark.share_stamp() TO query_executor_api, query_executor_worker;
GRANT EXECUTE ON FUNCTION tidemark.provision_tenant(uuid, text), tidemark.drop_tenant(uuid) TO query_executor_worker;
