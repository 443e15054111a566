-- migrate:up
CREATE OR REPLACE FUNCTION outbox_wake() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    awake CONSTANT bigint := hashtextextended('tidemark-outbox-awake-' || TG_TABLE_SCHEMA, 0);
BEGIN
    IF pg_try_advisory_lock_shared(awake) THEN
        PERFORM pg_advisory_unlock_shared(awake);
        PERFORM pg_notify('outbox_' || TG_TABLE_SCHEMA, '');
    END IF;
    RETURN NULL;
END
$$;

-- migrate:down
