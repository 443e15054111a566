-- migrate:up
-- Null: written before authors were kept.
ALTER TABLE analytics_query_version ADD COLUMN created_by text;

-- migrate:down
