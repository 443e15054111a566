-- Functions that migrations of all services call. Runs as the administrator at each setup; replaces older versions.
CREATE SCHEMA IF NOT EXISTS tidemark;
REVOKE ALL ON SCHEMA tidemark FROM PUBLIC;
GRANT USAGE ON SCHEMA tidemark TO tidemark_service;

-- Binds a tenant table: the request path sees one tenant, workers see all and join on the tenant themselves,
-- the owner of the shared views may read. The sub-select makes the planner evaluate the setting once a statement.
CREATE OR REPLACE FUNCTION tidemark.protect(target regclass, tenant_column name DEFAULT 'tenant_id') RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    service name := (SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = target);
    own text := format('%I = (SELECT nullif(current_setting(''app.tenant'', true), '''')::uuid)', tenant_column);
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    EXECUTE format('CREATE POLICY api ON %s TO %I USING (%s) WITH CHECK (%s)', target, service || '_api', own, own);
    EXECUTE format('CREATE POLICY worker ON %s TO %I USING (true) WITH CHECK (true)', target, service || '_worker');
    EXECUTE format('CREATE POLICY share ON %s FOR SELECT TO share_owner USING (true)', target);
END $$;
