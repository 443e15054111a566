-- migrate:up
-- `fingerprint` and `answer` are sealed: requests and answers may hold secrets. The nil tenant stands for
-- a superuser without one. Times are real ones, for a lease must not follow a shifted clock.
CREATE TABLE idempotency_key (
    tenant_id uuid NOT NULL,
    route text NOT NULL,
    key text NOT NULL,
    fingerprint text NOT NULL,
    run uuid NOT NULL,
    state text NOT NULL CHECK (state IN ('running', 'answered')),
    lease_until timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    status smallint,
    answer text,
    PRIMARY KEY (tenant_id, route, key),
    CHECK ((state = 'answered') = (status IS NOT NULL AND answer IS NOT NULL))
);
SELECT tidemark.protect('idempotency_key');
CREATE INDEX idempotency_key_age ON idempotency_key (created_at);

-- migrate:down
