-- migrate:up
-- Of a secret everything but its value; of a query everything but its text, which its version finds.
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON app
    FOR EACH ROW EXECUTE FUNCTION tidemark.audit('app', 'id', '{id,slug,name,description,created_at,updated_at}');

CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON secret_type
    FOR EACH ROW EXECUTE FUNCTION tidemark.audit('secret_type', 'slug', '{slug,name,description,created_at}');

CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON secret
    FOR EACH ROW EXECUTE FUNCTION tidemark.audit(
        'secret', 'id', '{id,app_id,key,type_slug,description,settings,version,created_at,updated_at}'
    );

CREATE FUNCTION audited_version(query jsonb) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'connection_type', v.connection_type, 'secret_key', v.secret_key, 'parameters', v.parameters
    )
    FROM query_executor.analytics_query_version v
    WHERE v.tenant_id = (query ->> 'tenant_id')::uuid AND v.query_id = (query ->> 'id')::uuid
      AND v.version = (query ->> 'version')::int
$$;

-- A version is written after its query and goes with it: hence at the end of the transaction, and before a deletion.
CREATE CONSTRAINT TRIGGER audit AFTER INSERT OR UPDATE ON analytics_query DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION tidemark.audit(
        'analytics_query', 'id', '{id,app_id,slug,name,description,tags,version,created_at,updated_at}', 'audited_version'
    );
CREATE TRIGGER audit_deletion BEFORE DELETE ON analytics_query
    FOR EACH ROW EXECUTE FUNCTION tidemark.audit(
        'analytics_query', 'id', '{id,app_id,slug,name,description,tags,version,created_at,updated_at}', 'audited_version'
    );

-- migrate:down
