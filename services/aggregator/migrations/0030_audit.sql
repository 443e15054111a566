-- migrate:up
-- The tables of a product as they were typed, for the audit alone: a change of them is one change of the product.
ALTER TABLE data_product ADD COLUMN tables jsonb NOT NULL DEFAULT '[]';
UPDATE data_product p SET tables = (
    SELECT jsonb_agg(jsonb_build_object('name', t.name, 'connector_id', t.connector_id) ORDER BY t.position)
    FROM product_table t WHERE t.tenant_id = p.tenant_id AND t.product_id = p.id
) WHERE EXISTS (SELECT FROM product_table t WHERE t.tenant_id = p.tenant_id AND t.product_id = p.id);

CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON space
    FOR EACH ROW EXECUTE FUNCTION tidemark.audit('space', 'id', '{id,slug,name,description,created_at,updated_at}');

CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON data_product
    FOR EACH ROW EXECUTE FUNCTION tidemark.audit(
        'data_product', 'id', '{id,space_id,slug,name,description,tables,created_at,updated_at}'
    );

-- migrate:down
