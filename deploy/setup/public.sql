-- What every login may do by default on a fresh server, and a tenant's login must not: take locks that services wait
-- for, wake or stop other sessions, keep large objects, read who else is here. Runs at each setup; changes nothing
-- when it runs again. Functions that the server keeps to superusers are left as they are.
DO $$
DECLARE
    each record;
BEGIN
    FOR each IN
        SELECT p.oid::regprocedure AS signature FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = 'pg_catalog'::regnamespace
          AND p.proname ~ '^(lo_.*|loread|lowrite|pg_(try_)?advisory_.*|pg_sleep.*|pg_notify|pg_(cancel|terminate)_backend'
              '|pg_export_snapshot|pg_logical_emit_message|txid_current|pg_current_xact_id|pg_stat_get_activity'
              '|pg_lock_status|pg_prepared_xact)$'
          AND p.proname <> 'pg_advisory_unlock_all'  -- asked by client libraries when a session is reset
          AND has_function_privilege('public', p.oid, 'EXECUTE')
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', each.signature);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO tidemark_service, pg_monitor', each.signature);
    END LOOP;
END $$;

REVOKE SELECT ON
    pg_catalog.pg_auth_members, pg_catalog.pg_db_role_setting, pg_catalog.pg_group, pg_catalog.pg_locks,
    pg_catalog.pg_prepared_xacts, pg_catalog.pg_roles, pg_catalog.pg_stat_activity, pg_catalog.pg_stat_gssapi,
    pg_catalog.pg_stat_ssl, pg_catalog.pg_user
FROM PUBLIC;
GRANT SELECT ON
    pg_catalog.pg_auth_members, pg_catalog.pg_db_role_setting, pg_catalog.pg_group, pg_catalog.pg_locks,
    pg_catalog.pg_prepared_xacts, pg_catalog.pg_roles, pg_catalog.pg_stat_activity, pg_catalog.pg_stat_gssapi,
    pg_catalog.pg_stat_ssl, pg_catalog.pg_user
TO tidemark_service, pg_monitor;
