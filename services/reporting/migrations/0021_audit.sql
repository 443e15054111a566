-- migrate:up
-- What is told through the API, under its names. What events change is told by whoever sent them, and comes in masses:
-- the condition keeps the function itself away from it.
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON component
    FOR EACH ROW EXECUTE FUNCTION tidemark.audit(
        'component', 'id',
        '{id,name,kind,lifecycle,owner,description,refs,metadata,version,created_at:createdAt,updated_at:updatedAt}'
    );

CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON environment
    FOR EACH ROW EXECUTE FUNCTION tidemark.audit(
        'environment', 'id', '{id,name,tier,description,refs,version,created_at:createdAt,updated_at:updatedAt}'
    );

CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON deployment
    FOR EACH ROW WHEN (current_user <> 'reporting_worker')
    EXECUTE FUNCTION tidemark.audit(
        'deployment', 'id',
        '{id,component_id:componentId,environment_id:environmentId,version,status,started_at:startedAt,finished_at:finishedAt,recorded_at:recordedAt,moment,sequence,commit_sha:commitSha,commit_at:commitAt,deployed_by:deployedBy,source,is_rework:isRework,metadata,updated_at:updatedAt}'
    );

-- migrate:down
