-- migrate:up
-- Most connectors have executions only: their ingests ask whether there is any reference, retired or not.
CREATE INDEX bi_reference_of_connector ON bi_reference (tenant_id, connector_id);

-- migrate:down
