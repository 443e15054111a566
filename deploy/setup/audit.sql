-- Audit by trigger: a change of a configuration table puts `audit.recorded` into the outbox of its schema, in the same
-- transaction. Actor and time are settings of the transaction, which the service sets for whoever asked (app.actor_id,
-- app.actor_type, app.actor_username, app.environment, app.now). A transaction of a worker that sets none is upkeep
-- (a deleted tenant's rows, seeds) and is not recorded; one of the request path that sets none is refused.

-- The fields of a row that are shown: `{id,slug,inner_name:name}`, column or column:field. What is not named never is.
CREATE OR REPLACE FUNCTION tidemark.audited(changed jsonb, columns text[]) RETURNS jsonb LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT jsonb_object_agg(
        coalesce(nullif(split_part(c, ':', 2), ''), split_part(c, ':', 1)),
        CASE WHEN octet_length((changed -> split_part(c, ':', 1))::text) > 65536 THEN '"too long to record"'
             ELSE changed -> split_part(c, ':', 1) END
    )
    FROM unnest(columns) c
$$;

-- Since when a row is only a marker of what was there; a key that is revoked is one too.
CREATE OR REPLACE FUNCTION tidemark.ended(changed jsonb) RETURNS text LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT coalesce(changed ->> 'deleted_at', changed ->> 'revoked_at')
$$;

-- Arguments of the trigger: type of the resource; column of its id; the fields that are shown; optionally a function
-- jsonb → jsonb of the table's schema for fields that lie in another table.
CREATE OR REPLACE FUNCTION tidemark.audit() RETURNS trigger LANGUAGE plpgsql SET timezone = 'UTC' AS $$
DECLARE
    old_row jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    new_row jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    changed jsonb := coalesce(new_row, old_row);
    resource text := TG_ARGV[0];
    before jsonb := tidemark.audited(old_row, TG_ARGV[2]::text[]);
    after jsonb := tidemark.audited(new_row, TG_ARGV[2]::text[]);
    at timestamptz := nullif(current_setting('app.now', true), '')::timestamptz;
    id uuid := uuidv7();
    action text;
    more jsonb;
    event jsonb;
    headers jsonb;
BEGIN
    IF at IS NULL THEN
        IF current_user LIKE '%\_api' THEN
            RAISE EXCEPTION 'a change of % names no actor', TG_TABLE_NAME USING ERRCODE = 'object_not_in_prerequisite_state';
        END IF;
        RETURN coalesce(NEW, OLD);
    END IF;
    IF TG_NARGS > 3 THEN
        EXECUTE format('SELECT %I.%I($1)', TG_TABLE_SCHEMA, TG_ARGV[3]) INTO more USING old_row;
        before := before || coalesce(more, '{}');
        EXECUTE format('SELECT %I.%I($1)', TG_TABLE_SCHEMA, TG_ARGV[3]) INTO more USING new_row;
        after := after || coalesce(more, '{}');
    END IF;
    action := CASE
        WHEN TG_OP = 'INSERT' THEN 'CREATE'
        WHEN TG_OP = 'DELETE' OR (tidemark.ended(old_row) IS NULL AND tidemark.ended(new_row) IS NOT NULL) THEN 'DELETE'
        ELSE 'UPDATE'
    END;
    IF action = 'UPDATE' AND before - 'updated_at' = after - 'updated_at' THEN
        RETURN NEW;
    END IF;
    event := jsonb_build_object(
        'tenant', coalesce(changed ->> 'tenant_id', changed ->> 'id'),
        'event_id', id,
        'occurred_at', at,
        'environment', coalesce(nullif(current_setting('app.environment', true), ''), 'production'),
        'action', action,
        'event_type', upper(resource) || '_' || action,
        'resource_type', resource,
        'resource_id', changed ->> TG_ARGV[1],
        'component_id', changed ->> 'component_id',
        'actor_id', nullif(current_setting('app.actor_id', true), ''),
        'actor_type', coalesce(nullif(current_setting('app.actor_type', true), ''), 'unknown'),
        'actor_username', nullif(current_setting('app.actor_username', true), ''),
        'previous_resource', before
    );
    IF action <> 'DELETE' THEN
        event := event || jsonb_build_object('current_resource', after);
    END IF;
    headers := jsonb_strip_nulls(jsonb_build_object(
        'ce_id', id,
        'ce_type', 'tidemark.audit_recorded',
        'ce_time', to_char(at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'ce_tenant', event ->> 'tenant',
        'traceparent', nullif(current_setting('app.traceparent', true), '')
    ));
    EXECUTE format('INSERT INTO %I.outbox (topic, key, headers, value, created_at) VALUES ($1, $2, $3, $4, $5)', TG_TABLE_SCHEMA)
        USING 'audit.recorded', event ->> 'resource_id', headers, event::text, at;
    RETURN coalesce(NEW, OLD);
END $$;
