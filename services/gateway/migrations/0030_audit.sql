-- migrate:up
-- Of a connector everything but its settings, whose change shows as a new version; of a key everything but its hash.
-- Who made a key is its actor; when it was used last is no change of it.
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON tenant
    FOR EACH ROW EXECUTE FUNCTION tidemark.audit('tenant', 'id', '{id,name,slug,version,created_at}');

CREATE TRIGGER audit AFTER INSERT OR UPDATE OF name, environment, roles, revoked_at OR DELETE ON api_key
    FOR EACH ROW EXECUTE FUNCTION tidemark.audit('api_key', 'id', '{id,name,environment,roles,created_at,revoked_at}');

CREATE FUNCTION audited_schedule(connector jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_build_object('schedule', CASE WHEN connector ->> 'cron' IS NOT NULL
        THEN jsonb_build_object('cron', connector -> 'cron', 'timezone', connector -> 'timezone') END)
$$;

CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON connector
    FOR EACH ROW EXECUTE FUNCTION tidemark.audit(
        'connector', 'id', '{id,name,type,environment,counts_executions,version,created_at,updated_at}', 'audited_schedule'
    );

-- Of a webhook source everything but its secrets, whose rotation shows as a new version.
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON webhook_source
    FOR EACH ROW EXECUTE FUNCTION tidemark.audit('webhook_source', 'id',
        '{id,name,kind,environment,enabled,signed_only,mapping,old_secret_until,version,created_at,updated_at}');

-- migrate:down
