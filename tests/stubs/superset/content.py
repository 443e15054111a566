"""What a stub of Superset holds: rows as the real lists give them."""

import json
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]
# Stands in every statement as a literal: it must never leave the process.
LITERAL = "hunter2-literal"
OWN, ADA, BOB = 1, 2, 3
FIRST_RUN_MS = 1_795_000_000_000.0


@dataclass(slots=True)
class Content:
    """The rows of each list, by the list's path below /api/v1."""

    chart: list[Row] = field(default_factory=list)
    dashboard: list[Row] = field(default_factory=list)
    dataset: list[Row] = field(default_factory=list)
    database: list[Row] = field(default_factory=list)
    saved_query: list[Row] = field(default_factory=list)
    query: list[Row] = field(default_factory=list)
    users: list[Row] = field(default_factory=list)

    def of(self, name: str) -> list[Row]:
        """The rows of a list."""
        found: list[Row] = getattr(self, name)
        return found


def chart(number: int, dataset: int, dashboards: tuple[int, ...] = (), name: str | None = None) -> Row:
    condition = {"expressionType": "SIMPLE", "clause": "WHERE", "subject": "status", "operator": "=="}
    params = {"groupby": ["status"], "metrics": ["count"], "adhoc_filters": [condition | {"comparator": LITERAL}]}
    return {
        "id": number,
        "slice_name": name or f"chart {number:05}",
        "params": json.dumps(params),
        "datasource_id": dataset,
        "datasource_type": "table",
        "dashboards": [{"id": each, "dashboard_title": f"dashboard {each}"} for each in dashboards],
    }


def run(number: int, user: int, sql: str, status: str = "success", executed: str | None = None) -> Row:
    return {
        "id": number,
        "sql": sql,
        "executed_sql": executed or sql,
        "status": status,
        "start_time": FIRST_RUN_MS + number * 1000.5,
        "tab_name": f"tab {number}",
        "schema": "public",
        "sql_tables": [],
        "user": {"id": user},
        "database": {"id": 1, "database_name": "shop"},
    }


def small(charts: int = 3) -> Content:
    """A few of each; charts stand on a table, a query and a query over that query."""
    shop = {"id": 1, "database_name": "shop"}
    nested = f"SELECT x.status FROM {{{{ dataset(2) }}}} x WHERE note = '{LITERAL}'"
    virtual = f"SELECT o.status FROM orders o JOIN finance.payments p ON p.order_id = o.id WHERE o.note = '{LITERAL}'"
    table = {"id": 1, "table_name": "orders", "schema": "public", "catalog": "shop", "sql": None, "database": shop}
    return Content(
        chart=[chart(number, 1 + number % 3, (1, 2) if number % 2 else ()) for number in range(1, charts + 1)],
        dashboard=[{"id": n, "dashboard_title": f"dashboard {n}", "slug": "board" if n == 1 else None} for n in (1, 2)],
        dataset=[
            table,
            table | {"id": 2, "table_name": "paid_orders", "sql": virtual},
            table | {"id": 3, "table_name": "nested", "sql": nested},
        ],
        database=[{"id": 1, "database_name": "shop", "backend": "postgresql"}],
        saved_query=[
            {
                "id": 1,
                "label": "late payments",
                "sql": f"SELECT * FROM finance.payments WHERE method = '{LITERAL}' AND day > '{{{{ ds }}}}'",
                "schema": "public",
                "catalog": None,
                "database": {"id": 1},
                "sql_tables": [{"catalog": None, "schema": "finance", "table": "payments"}],
            }
        ],
        query=[
            run(1, ADA, f"SELECT id FROM customers WHERE email = '{LITERAL}'"),
            run(2, OWN, "SELECT 1 FROM own_runs_are_no_usage"),
            run(3, BOB, "SELECT nope FROM nowhere", "failed"),
            run(4, BOB, "SELECT * FROM {{ t }}", executed="SELECT * FROM inventory LIMIT 100"),
            run(5, ADA, "SELECT 1; SELECT {{ c }} FROM a", executed="SELECT 2 FROM a"),
        ],
        users=[{"id": OWN, "username": "miner"}, {"id": ADA, "username": "ada"}, {"id": BOB, "username": "bob"}],
    )
