"""What the demo's people made in Superset: charts, dashboards, queries and runs over the demo's shop."""

from dataclasses import dataclass, field
from typing import Final

from deploy.local.superset_api import SupersetApi, superset_api

ANALYST: Final = "ada"
# Typed by hand into filters and queries: it must not be seen anywhere outside of Superset.
LITERAL: Final = "c7@example.org"

_SUM: Final = {"expressionType": "SIMPLE", "aggregate": "SUM", "column": {"column_name": "amount"}, "label": "revenue"}
_PAID: Final = {
    "expressionType": "SIMPLE",
    "clause": "WHERE",
    "subject": "status",
    "operator": "==",
    "comparator": "paid",
}
_CUSTOMER_ORDERS: Final = (
    "SELECT c.country, o.total, o.ordered_at FROM orders o JOIN customers c ON c.id = o.customer_id"  # noqa: S608
    f" WHERE c.email <> '{LITERAL}'"
)
_SAVED: Final = (
    "SELECT k.campaign_id, count(*) FROM marketing.clicks k JOIN marketing.campaigns c ON c.id = k.campaign_id"
    "{% if channel %} WHERE c.channel = '{{ channel }}'{% endif %} GROUP BY k.campaign_id"
)
_RUNS: Final = (
    f"SELECT id, name FROM customers WHERE email = '{LITERAL}'",  # noqa: S608
    "SELECT sku, stock FROM inventory WHERE stock < {{ 10 + 5 }}",
    "SELECT method, sum(amount) FROM finance.payments GROUP BY method",
    'SELECT "Net" FROM finance."Monthly Revenue" ORDER BY month',
)
_FAILING: Final = "SELECT * FROM there_is_no_such_table"


@dataclass(frozen=True, slots=True)
class Content:
    """Ids of what was made. `runs` succeeded and are the analyst's."""

    revenue: int
    orders: int
    countries: int
    nested: int
    months: int
    finance: int
    board: int
    saved: int
    runs: int
    analyst_password: str = field(repr=False)

    @property
    def charts(self) -> tuple[int, ...]:
        return (self.revenue, self.orders, self.countries, self.nested, self.months)


async def fill(admin: SupersetApi, address: str, analyst_password: str) -> Content:
    """Make it all. `address` is the shop's SQLAlchemy address."""
    shop = await admin.database("shop", address)
    finance = await admin.dashboard("Finance", "finance")
    board = await admin.dashboard("Board", "board")
    charts = await _charts(admin, shop, finance, board)
    saved = await admin.saved_query("clicks per campaign", shop, "public", _SAVED)
    await admin.run(shop, "public", "SELECT 1 AS own_runs_are_no_usage FROM orders LIMIT 1")
    await admin.user(ANALYST, analyst_password)
    async with superset_api(admin.url, ANALYST, analyst_password) as analyst:
        for sql in _RUNS:
            await analyst.run(shop, "public", sql)
        await analyst.run_failing(shop, "public", _FAILING)
    return Content(
        **charts, finance=finance, board=board, saved=saved, runs=len(_RUNS), analyst_password=analyst_password
    )


async def _charts(admin: SupersetApi, shop: int, finance: int, board: int) -> dict[str, int]:
    """With and without a saved query context; over tables, a query, and a query over that query."""
    payments = await admin.table(shop, "finance", "payments")
    orders = await admin.table(shop, "public", "orders")
    months = await admin.table(shop, "finance", "Monthly Revenue")
    customers = await admin.virtual(shop, "public", "customer_orders", _CUSTOMER_ORDERS)
    large = f"SELECT country FROM {{{{ dataset({customers}) }}}} WHERE total > 100"  # noqa: S608
    nested = await admin.virtual(shop, "public", "large_orders", large)
    by_method = {"columns": ["method"], "metrics": [_SUM], "filters": [], "row_limit": 100}
    by_country = {"columns": ["country"], "metrics": [], "filters": [], "row_limit": 100}
    status = {"groupby": ["status"], "metrics": ["count"], "adhoc_filters": [_PAID], "row_limit": 10}
    return {
        "revenue": await admin.chart(
            "Revenue by method",
            payments,
            {"groupby": ["method"], "metrics": [_SUM]},
            queries=(by_method,),
            dashboards=(finance, board),
        ),
        "orders": await admin.chart("Orders by status", orders, status, dashboards=(board,)),
        "countries": await admin.chart("Countries", customers, {"groupby": ["country"]}, queries=(by_country,)),
        "nested": await admin.chart("Large orders", nested, {"groupby": ["country"]}),
        "months": await admin.chart("Months", months, {"groupby": ["month", "Net"]}),
    }
