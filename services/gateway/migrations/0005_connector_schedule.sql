-- migrate:up
ALTER TABLE connector
    ADD COLUMN cron text,
    ADD COLUMN timezone text,
    ADD CONSTRAINT connector_schedule_is_whole CHECK ((cron IS NULL) = (timezone IS NULL));

-- migrate:down
